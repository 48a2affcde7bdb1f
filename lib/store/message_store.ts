import type { GroupId, MessageId, UserId } from "../ids.ts";
import type { StorageRef } from "../messages/message.ts";
import type { Body } from "./body.ts";

/** Whose body it is; kept beside the bytes so that rows can be rebuilt from the store (ruling 3.7). */
export interface BodyLabel {
  readonly id: MessageId;
  readonly group: GroupId;
  readonly user: UserId;
  readonly mailFrom: string;
  readonly recipients: readonly string[];
}

/** Keeps message bodies. Throws `Refusal("body_store_full")` when there is no room, anything else when it is down. */
export interface MessageStore extends AsyncDisposable {
  /** Durable when it resolves. */
  put(label: BodyLabel, body: Body): Promise<StorageRef>;
  /** Undefined when the body is gone or damaged; throws when the store is down. */
  get(ref: StorageRef): Promise<Body | undefined>;
  /** Removing what is already gone succeeds. */
  remove(ref: StorageRef): Promise<void>;
  /** Bodies put before a moment, oldest first, for the collector of orphans (ruling 3.15); may fail at the end. */
  list(olderThan: Date): AsyncIterable<StoredBody>;
}

/** A label as a store has kept it: there may have been no room for all recipients. */
export interface StoredLabel extends BodyLabel {
  /** How many recipients are missing at the end of the list; absent when none is. */
  readonly leftOut?: number;
}

/** One body found in a store. */
export interface StoredBody {
  readonly id: MessageId;
  readonly ref: StorageRef;
  /** May take a request; undefined when the body is gone meanwhile or has none that can be read. */
  label(): Promise<StoredLabel | undefined>;
}
