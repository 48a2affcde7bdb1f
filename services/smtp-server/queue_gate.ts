import type { Queue } from "../../lib/queue/queue.ts";
import { Refusal } from "../../lib/refusal.ts";
import { sleepFor } from "../../lib/retry.ts";

/**
 * Remembers that the queue is down, so that mail is refused at MAIL FROM and not after a body was kept for it
 * (ruling 3.3). Closed by the first failure, opened again by the first probe that is answered.
 */
export class QueueGate implements AsyncDisposable {
  readonly #queue: Pick<Queue, "ping">;
  readonly #probeMs: number;
  readonly #onChange: (isDown: boolean) => void;
  readonly #stop = new AbortController();
  #probing: Promise<void> | undefined;

  constructor(
    queue: Pick<Queue, "ping">,
    options: { readonly probeMs?: number; readonly onChange?: (isDown: boolean) => void } = {},
  ) {
    this.#queue = queue;
    this.#probeMs = options.probeMs ?? 1_000;
    this.#onChange = options.onChange ?? (() => {});
  }

  /** Whether a probe is still waited for. */
  get isDown(): boolean {
    return this.#probing !== undefined;
  }

  /** Throws Refusal("queue_down") while the queue is known to be down. */
  check(): void {
    if (this.isDown) {
      throw new Refusal("queue_down", "Mail cannot be queued just now, please try again later");
    }
  }

  /** Closes the gate until a probe succeeds. */
  close(): void {
    if (this.#probing !== undefined || this.#stop.signal.aborted) return;
    this.#onChange(true);
    this.#probing = this.#probe().finally(() => {
      this.#probing = undefined;
      this.#onChange(false);
    });
  }

  async #probe(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await sleepFor(this.#probeMs, this.#stop.signal);
      const answered = await this.#queue.ping().then(() => true, () => false);
      if (answered) return;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#probing;
  }
}
