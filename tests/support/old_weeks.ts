import assert from "node:assert/strict";
import { type MessageId, timeOfId } from "../../lib/ids.ts";
import { insertMessages } from "../../lib/messages/messages_table.ts";
import type { Session } from "../../lib/postgres/database.ts";
import { DeliveryRoom } from "./delivery_room.ts";
import { submissionOf } from "./submissions.ts";

const day = 24 * 3_600_000;

/** An id as it was made so many days ago. */
export function idOf(daysAgo: number): MessageId {
  const hex = Math.floor(Date.now() - daysAgo * day).toString(16).padStart(12, "0");
  const rest = crypto.randomUUID().slice(15);
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${rest}` as MessageId;
}

/** A database whose tables have weeks that are long over: `old` ended 120 days ago, `older` 127. */
export async function openRoomWithOldWeeks(): Promise<DeliveryRoom> {
  const room = await DeliveryRoom.open();
  await makeOldWeeks(room.owner, 120);
  return room;
}

/** Gives empty tables, as their superuser, a week `old` that ended so many days ago and `older`, all before its last seven. */
export async function makeOldWeeks(owner: Session, daysAgo: number): Promise<void> {
  await owner.run(`do $$
    declare
      parent text;
      first_week text;
      ends uuid;
      old_end uuid := first_uuid_at(now() - interval '${daysAgo} days');
      older_end uuid := first_uuid_at(now() - interval '${daysAgo + 7} days');
    begin
      select substr(c.relname, length('messages_') + 1), message_week_end(c.oid) into first_week, ends
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'messages'::regclass order by message_week_end(c.oid) limit 1;
      foreach parent in array array['delivery_events', 'delivery_logs', 'recipients', 'messages'] loop
        execute format('alter table %I detach partition %I', parent, parent || '_' || first_week);
        execute format('drop table %I', parent || '_' || first_week);
      end loop;
      foreach parent in array array['messages', 'recipients', 'delivery_logs', 'delivery_events'] loop
        execute format('create table %I partition of %I for values from (minvalue) to (%L)',
          parent || '_older', parent, older_end);
        execute format('create table %I partition of %I for values from (%L) to (%L)',
          parent || '_old', parent, older_end, old_end);
        execute format('create table %I partition of %I for values from (%L) to (%L)',
          parent || '_' || first_week, parent, old_end, ends);
        execute format('alter table %I owner to smtp_proxy_owner', parent || '_older');
        execute format('alter table %I owner to smtp_proxy_owner', parent || '_old');
        execute format('alter table %I owner to smtp_proxy_owner', parent || '_' || first_week);
        execute format('alter table %I enable row level security', parent || '_older');
        execute format('alter table %I enable row level security', parent || '_old');
        execute format('alter table %I force row level security', parent || '_older');
        execute format('alter table %I force row level security', parent || '_old');
      end loop;
    end $$`);
}

/** A message that was accepted so many days ago, with a recipient, a call and an event; its body is gone. */
export async function addOldMessage(
  room: DeliveryRoom,
  daysAgo: number,
  status = "delivered",
): Promise<MessageId> {
  const submission = submissionOf(room.account, { id: idOf(daysAgo) });
  const { id } = submission;
  await insertMessages(room.intake, [{
    submission,
    storageRef: "inline",
    inlineBody: await submission.body.bytes(),
  }], 0);
  assert.ok(Math.abs(timeOfId(id) - (Date.now() - daysAgo * day)) < 60_000);
  const { group, user } = room.account;
  await room.owner.run(`begin;
    insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status)
      values (uuidv7(), '${id}', '${group}', '${user}', 1, '{1}', 'delivered');
    insert into delivery_events (id, message_id, group_id, kind, occurred_at)
      values (uuidv7(), '${id}', '${group}', 'delivered', now());
    update messages set status = '${status}', processed_at = now() - interval '${daysAgo} days',
      body = null, body_removed_at = now(), enqueued_at = now() - interval '${daysAgo} days' where id = '${id}';
    commit`);
  return id;
}
