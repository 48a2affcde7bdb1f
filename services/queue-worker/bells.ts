import type { Lease, Queue } from "../../lib/queue/queue.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";

/** Settles doorbells once their message's row is written; a queue that is down costs a later ring, never a message. */
export class Bells {
  readonly #queue: Queue;
  readonly #log: Log;

  constructor(queue: Queue, log: Log) {
    this.#queue = queue;
    this.#log = log;
  }

  /** The doorbell has done its work. */
  async done(lease: Lease): Promise<void> {
    await this.#quietly(lease, () => this.#queue.done(lease));
  }

  /** Rings again after a while. */
  async again(lease: Lease, delayMs: number): Promise<void> {
    await this.#quietly(lease, () => this.#queue.again(lease, Math.ceil(delayMs)));
  }

  async #quietly(lease: Lease, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      // The row says when it is due, so the sweeper rings for it.
      this.#log.warn("cannot settle a doorbell", { messageId: lease.message, error });
    }
  }
}
