import { Crowd } from "../../lib/crowd.ts";
import type { GroupId } from "../../lib/ids.ts";
import type { Lease, Queue } from "../../lib/queue/queue.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";

/** How a worker takes doorbells and hands them on. */
export interface WorkerOptions {
  readonly queue: Queue;
  /** Messages in hand at a time. */
  readonly hands: number;
  /** Longest wait for the next doorbell. */
  readonly blockMs: number;
  /** Does all there is to do for one doorbell. */
  readonly run: (lease: Lease) => Promise<void>;
  readonly log: Log;
}

const firstPauseMs = 100;
const longestPauseMs = 2000;
/** How often those are looked for whom hands are kept free. */
const lookMs = 100;

/** Reserves doorbells and runs a bounded number of them at a time, until it is drained. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #byGroup = new Map<GroupId, number>();
  readonly #running = new Crowd<Promise<void>>();
  readonly #drain = new AbortController();
  readonly #reserving: Promise<void>;
  #freed = Promise.withResolvers<void>();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#reserving = this.#reserveForever();
  }

  /** Messages in hand now. */
  get inHand(): number {
    return this.#running.size;
  }

  /** Reserves no more; resolves when what was in hand is done, or handed back by `run`. */
  async drain(): Promise<void> {
    this.#drain.abort();
    this.#freed.resolve();
    await this.#reserving;
    await Promise.all(this.#running);
  }

  async #reserveForever(): Promise<void> {
    const { queue, hands, blockMs, log } = this.#options;
    let pauseMs = firstPauseMs;
    let lookedAt = -Infinity;
    while (!this.#drain.signal.aborted) {
      const free = hands - this.#running.size;
      const greedy = this.#greedy(free);
      const sinceLookMs = performance.now() - lookedAt;
      // A few at a time, so that one question serves several doorbells.
      if (free < Math.max(1, hands / 4)) {
        await this.#freed.promise;
        continue;
      }
      if (greedy.size > 0 && sinceLookMs < lookMs) {
        await this.#freedWithin(Math.max(1, lookMs - sinceLookMs));
        continue;
      }
      try {
        lookedAt = performance.now();
        // Never all there is room for, so that one group's backlog leaves some for the next that rings. While some
        // are passed over there is no waiting: they may have more as soon as something of theirs is done.
        const leases = await queue.reserve(
          Math.ceil(free * 0.75),
          greedy.size > 0 ? 0 : blockMs,
          greedy,
          this.#drain.signal,
        );
        for (const lease of leases) this.#begin(lease);
        pauseMs = firstPauseMs;
      } catch (error) {
        if (pauseMs === firstPauseMs) log.warn("cannot reserve from the queue", { error });
        await sleepFor(pauseMs, this.#drain.signal);
        pauseMs = Math.min(2 * pauseMs, longestPauseMs);
      }
    }
  }

  async #freedWithin(ms: number): Promise<void> {
    const waited = Promise.withResolvers<void>();
    const timer = setTimeout(waited.resolve, ms);
    await Promise.race([this.#freed.promise, waited.promise]);
    clearTimeout(timer);
  }

  /** Groups that hold three times what is still free: the fuller the hands, the fewer are one group's. */
  #greedy(free: number): ReadonlySet<GroupId> {
    const greedy = new Set<GroupId>();
    for (const [group, count] of this.#byGroup) if (count >= 3 * free) greedy.add(group);
    return greedy;
  }

  #begin(lease: Lease): void {
    const { group } = lease;
    this.#byGroup.set(group, (this.#byGroup.get(group) ?? 0) + 1);
    const running = this.#runOne(lease).finally(() => {
      this.#running.leave(running, place);
      const left = (this.#byGroup.get(group) ?? 1) - 1;
      if (left === 0) this.#byGroup.delete(group);
      else this.#byGroup.set(group, left);
      this.#freed.resolve();
      this.#freed = Promise.withResolvers();
    });
    const place = this.#running.enter(running);
  }

  async #runOne(lease: Lease): Promise<void> {
    const { run, queue, log } = this.#options;
    try {
      if (this.#drain.signal.aborted) await queue.again(lease, 0);
      else await run(lease);
    } catch (error) {
      // The doorbell rings again when its lease ends, or the sweeper rings for it.
      log.error("doorbell not served", { messageId: lease.message, error });
    }
  }
}
