import { withinTime } from "../../lib/deadlines.ts";
import type { StorageRef, Submission } from "../../lib/messages/message.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";

/** Where a body went, and its bytes when they go into the row. */
export interface StoredAt {
  readonly storageRef: StorageRef;
  readonly inlineBody?: Uint8Array;
}

/** Keeps a submission's body; durable when it resolves, unless it is `inline`: then the row makes it durable. */
export type StoreBody = (submission: Submission) => Promise<StoredAt>;

/** How long a store may take and what may go into PostgreSQL instead. */
export interface StoreBodyOptions {
  readonly store: MessageStore;
  readonly putTimeoutMs: number;
  /** Larger bodies are refused while the store is down. */
  readonly inlineLimit: number;
  readonly onStoreDown?: (error: unknown) => void;
}

/** A full store is the client's to wait for; one that is unreachable is replaced by the row, for bodies small enough. */
export function storeBody(options: StoreBodyOptions): StoreBody {
  return async (submission) => {
    const { body } = submission;
    try {
      // A put that ends after its limit leaves a body without a row, which the collector removes.
      return {
        storageRef: await withinTime(options.putTimeoutMs, options.store.put(labelOf(submission), body)),
      };
    } catch (error) {
      // A store with too much waiting is as good as one that cannot be reached.
      const isOverloaded = error instanceof Refusal && error.code === "body_memory_full";
      if (error instanceof Refusal && !isOverloaded) throw error;
      options.onStoreDown?.(error);
      if (isOverloaded && body.size > options.inlineLimit) throw error;
      if (body.size > options.inlineLimit) {
        const message = "The message store is not reachable, please try again later";
        throw new Refusal("body_store_down", message, { cause: error });
      }
      return { storageRef: "inline", inlineBody: await body.bytes() };
    }
  };
}

/**
 * Throws Refusal("body_store_full") before a body begins to arrive. A store that cannot be reached is nobody's reason
 * to be refused then: the row may take its place (ruling 3.7).
 */
export async function refuseWhenFull(store: { checkRoom(): Promise<void> }): Promise<void> {
  try {
    await store.checkRoom();
  } catch (error) {
    if (error instanceof Refusal) throw error;
  }
}

function labelOf(submission: Submission) {
  return {
    id: submission.id,
    group: submission.group,
    user: submission.user,
    mailFrom: submission.mailFrom,
    recipients: submission.recipients.map((recipient) => recipient.address),
  };
}
