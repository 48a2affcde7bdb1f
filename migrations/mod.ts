import rolesUp from "./001_create_roles.up.sql" with { type: "text" };
import rolesDown from "./001_create_roles.down.sql" with { type: "text" };
import queueUp from "./002_create_queue.up.sql" with { type: "text" };
import queueDown from "./002_create_queue.down.sql" with { type: "text" };
import groupsUp from "./003_create_groups.up.sql" with { type: "text" };
import groupsDown from "./003_create_groups.down.sql" with { type: "text" };
import messagesUp from "./004_create_messages.up.sql" with { type: "text" };
import messagesDown from "./004_create_messages.down.sql" with { type: "text" };
import isolateUp from "./005_isolate_groups.up.sql" with { type: "text" };
import isolateDown from "./005_isolate_groups.down.sql" with { type: "text" };
import accessUp from "./006_give_access.up.sql" with { type: "text" };
import accessDown from "./006_give_access.down.sql" with { type: "text" };
import deadUp from "./007_find_dead_letters.up.sql" with { type: "text" };
import deadDown from "./007_find_dead_letters.down.sql" with { type: "text" };
import storesUp from "./008_know_stores.up.sql" with { type: "text" };
import storesDown from "./008_know_stores.down.sql" with { type: "text" };
import eventsUp from "./009_receive_events.up.sql" with { type: "text" };
import eventsDown from "./009_receive_events.down.sql" with { type: "text" };
import searchUp from "./010_search_mail.up.sql" with { type: "text" };
import searchDown from "./010_search_mail.down.sql" with { type: "text" };
import daysUp from "./011_count_days.up.sql" with { type: "text" };
import daysDown from "./011_count_days.down.sql" with { type: "text" };
import refusalsUp from "./012_keep_refusals.up.sql" with { type: "text" };
import refusalsDown from "./012_keep_refusals.down.sql" with { type: "text" };
import suppressUp from "./013_suppress_addresses.up.sql" with { type: "text" };
import suppressDown from "./013_suppress_addresses.down.sql" with { type: "text" };
import listUp from "./014_list_activities.up.sql" with { type: "text" };
import listDown from "./014_list_activities.down.sql" with { type: "text" };
import renewUp from "./015_renew_hashes.up.sql" with { type: "text" };
import renewDown from "./015_renew_hashes.down.sql" with { type: "text" };

/** One step of the schema; its text is fixed once it was applied anywhere. */
export interface Migration {
  readonly version: number;
  readonly name: string;
  readonly up: string;
  readonly down: string;
}

/** Every migration, oldest first; imported as text so that a compiled program carries them. */
export const migrations: readonly Migration[] = [
  { version: 1, name: "create_roles", up: rolesUp, down: rolesDown },
  { version: 2, name: "create_queue", up: queueUp, down: queueDown },
  { version: 3, name: "create_groups", up: groupsUp, down: groupsDown },
  { version: 4, name: "create_messages", up: messagesUp, down: messagesDown },
  { version: 5, name: "isolate_groups", up: isolateUp, down: isolateDown },
  { version: 6, name: "give_access", up: accessUp, down: accessDown },
  { version: 7, name: "find_dead_letters", up: deadUp, down: deadDown },
  { version: 8, name: "know_stores", up: storesUp, down: storesDown },
  { version: 9, name: "receive_events", up: eventsUp, down: eventsDown },
  { version: 10, name: "search_mail", up: searchUp, down: searchDown },
  { version: 11, name: "count_days", up: daysUp, down: daysDown },
  { version: 12, name: "keep_refusals", up: refusalsUp, down: refusalsDown },
  { version: 13, name: "suppress_addresses", up: suppressUp, down: suppressDown },
  { version: 14, name: "list_activities", up: listUp, down: listDown },
  { version: 15, name: "renew_hashes", up: renewUp, down: renewDown },
];
