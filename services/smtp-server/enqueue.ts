import { coalesce } from "../../lib/coalesce.ts";
import { type FailedRing, markEnqueueFailed, type RingAttempt } from "../../lib/messages/messages_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import type { Doorbell, Queue } from "../../lib/queue/queue.ts";
import { Refusal } from "../../lib/refusal.ts";
import { retry, type RetryOptions } from "../../lib/retry.ts";

/** Rings a message's doorbell; resolves also when a worker took the message without it. Throws Refusal("queue_down"). */
export type Enqueue = (bell: Doorbell, attempt?: RingAttempt) => Promise<void>;

/** What ringing needs. */
export interface EnqueueOptions {
  readonly queue: Pick<Queue, "push">;
  readonly database: Database;
  /** 500 ms, 1 s, 2 s (ruling 1.19). */
  readonly delaysMs?: readonly number[];
  /** Told of every doorbell that failed, and of every one that rang. */
  readonly onResult?: (rang: boolean) => void;
  readonly onBatch?: (size: number) => void;
  readonly sleep?: RetryOptions["sleep"];
}

/** Doorbells are rung in batches, each tried four times; then the row says so and the client keeps the message. */
export function enqueue(options: EnqueueOptions): Enqueue {
  const push = coalesce<Doorbell, void>(async (bells) => {
    const results = await options.queue.push(bells);
    return results.map((result) =>
      result.ok ? { ok: true, value: undefined } : { ok: false, error: result.error }
    );
  }, {
    // One outage is everybody's: a failed doorbell is never tried alone here, but again after the delay.
    isOutage: () => true,
    laneOf: (bell) => bell.group,
    ...(options.onBatch && { onBatch: options.onBatch }),
  });
  const giveUp = coalesce<FailedRing, boolean>(async (failed) => {
    const taken = await markEnqueueFailed(options.database.system, failed);
    return failed.map(({ message }) => ({ ok: true, value: !taken.has(message) }));
  });
  return async (bell, attempt) => {
    try {
      await retry(() => push(bell), options.delaysMs ?? [500, 1_000, 2_000], {
        ...(options.sleep && { sleep: options.sleep }),
      });
      options.onResult?.(true);
    } catch (error) {
      options.onResult?.(false);
      await handBack({ message: bell.message, ...(attempt && { attempt }) }, error, giveUp);
    }
  };
}

/**
 * A row that a worker has had is ours, and 250 is right. When the row cannot be written, or is not the caller's to give
 * up, it stays queued: the sweeper delivers it once, and the resubmission finds it.
 */
async function handBack(
  failed: FailedRing,
  error: unknown,
  giveUp: (failed: FailedRing) => Promise<boolean>,
): Promise<void> {
  const message = "The message could not be queued for delivery, please try again later";
  let isClients: boolean;
  try {
    isClients = await giveUp(failed);
  } catch (failure) {
    throw new Refusal("queue_down", message, { cause: new AggregateError([error, failure]) });
  }
  if (isClients) throw new Refusal("queue_down", message, { cause: error });
}
