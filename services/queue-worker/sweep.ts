import {
  forgetRings,
  type Orphan,
  readEpoch,
  recordEpoch,
  takeBackRings,
  takeExpiredClaims,
  takeLostDoorbells,
} from "../../lib/messages/orphans_table.ts";
import type { Database, HeldLock } from "../../lib/postgres/database.ts";
import type { LaneHead, Queue } from "../../lib/queue/queue.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import { purgeAttempts } from "../../lib/users/auth_attempts_table.ts";
import { ringAll } from "./ring_all.ts";

/** What the sweeper needs. */
export interface SweeperOptions {
  readonly database: Database;
  readonly queue: Queue;
  readonly log: Log;
  readonly metrics: Metrics;
  /** First gap before a message is rung again that nobody has claimed by then; it doubles. */
  readonly sweepAfterMs: number;
  /** How much longer than the head of its lane a message must be due before its doorbell counts as lost. */
  readonly graceMs?: number;
  readonly roundMs?: number;
  /** How often another sweeper's lock is asked for; each time costs a connection. */
  readonly askLockMs?: number;
}

const lockName = "smtp_proxy.sweeper";
const defaultRoundMs = 1000;
const defaultAskLockMs = 10_000;
const expiredEveryMs = 2000;
const lostEveryMs = 5000;
const purgeEveryMs = 60_000;
/** Rows of old login attempts that go in one statement; with more than that the next round takes up. */
const purgePage = 1000;
/** Lanes are first in, first out, so this need only cover the pauses between the tries of a doorbell's push. */
const defaultGraceMs = 20_000;
const atOnce = 2000;
/** How much this process's clock and the queue's may differ without harm. */
const clockSlackMs = 1000;

/**
 * Rings for messages nobody works on although somebody should: all of them when the queue has lost its contents, those
 * whose doorbell or claimant is gone otherwise (ruling 3.6). It never changes what a message is. It also removes login
 * attempts that no throttle looks at any more. One sweeper at a time works for a database; the others wait for its lock.
 */
export class Sweeper implements AsyncDisposable {
  readonly #options: SweeperOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #expiredAt = -Infinity;
  #lostAt = -Infinity;
  #purgedAt = -Infinity;
  #askedAt = -Infinity;
  /** When everything was rung the last time, in milliseconds since 1970. */
  #rungAll = { fromMs: Infinity, toMs: -Infinity };
  #lock: HeldLock | undefined;
  #isTold = false;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#running = this.#sweepForever();
  }

  /** Whether it is this one that works for the database now. */
  get isSweeping(): boolean {
    return this.#lock !== undefined && !this.#lock.lost;
  }

  /** Looks for expired claims at once, and first for the lock: who held it may be gone too. */
  hurry(): void {
    this.#askedAt = -Infinity;
    this.#expiredAt = -Infinity;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #sweepForever(): Promise<void> {
    const { log, roundMs = defaultRoundMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (await this.#holdLock()) await this.#round();
        this.#isTold = false;
      } catch (error) {
        // Told once for each outage.
        if (!this.#isTold) log.warn("cannot sweep", { error });
        this.#isTold = true;
      }
      await sleepFor(roundMs, signal);
    }
    await this.#lock?.[Symbol.asyncDispose]();
  }

  async #holdLock(): Promise<boolean> {
    if (this.isSweeping) return true;
    const { askLockMs = defaultAskLockMs } = this.#options;
    const now = performance.now();
    if (this.#lock === undefined && now - this.#askedAt < askLockMs) return false;
    this.#lock = await this.#options.database.tryLock(lockName);
    this.#askedAt = now;
    return this.#lock !== undefined;
  }

  async #round(): Promise<void> {
    await this.#watchEpoch();
    const now = performance.now();
    if (now - this.#expiredAt >= expiredEveryMs) {
      this.#expiredAt = now;
      await this.#ringExpired();
    }
    if (now - this.#lostAt >= lostEveryMs) {
      const count = await this.#ringLost();
      // Where there are more they are not left waiting.
      this.#lostAt = count === atOnce ? -Infinity : now;
    }
    if (now - this.#purgedAt >= purgeEveryMs) {
      const count = await purgeAttempts(this.#options.database.system, purgePage);
      this.#purgedAt = count === purgePage ? -Infinity : now;
    }
  }

  async #watchEpoch(): Promise<void> {
    const { database, queue, log, metrics } = this.#options;
    const epoch = await queue.epoch() ?? await queue.beginEpoch(crypto.randomUUID());
    const recorded = await readEpoch(database.system);
    if (epoch === recorded) return;
    if (recorded === undefined) log.info("queue used for the first time", { epoch });
    else log.warn("queue lost its contents", { epoch });
    const fromMs = Date.now();
    const count = await ringAll({
      sql: database.system,
      queue,
      signal: this.#stop.signal,
      onRung: (some) => metrics.worker.sweeperRings.add({ reason: "epoch" }, some),
    });
    // Rung in part: the next round begins anew, and a doorbell that rings twice does no harm.
    if (count === undefined) return;
    await forgetRings(database.system);
    await recordEpoch(database.system, epoch);
    this.#rungAll = { fromMs, toMs: Date.now() };
    log.info("queue rung anew", { epoch, count });
  }

  async #ringExpired(): Promise<void> {
    const { database, sweepAfterMs } = this.#options;
    await this.#ring(await takeExpiredClaims(database.system, sweepAfterMs, atOnce), "expired");
  }

  async #ringLost(): Promise<number> {
    const { database, queue, sweepAfterMs, graceMs = defaultGraceMs } = this.#options;
    const heads = await queue.heads();
    const orphans = await takeLostDoorbells(
      database.system,
      heads.map((head) => this.#wasRungAnew(head) ? { ...head, rungAt: new Date(0) } : head),
      graceMs,
      sweepAfterMs,
      atOnce,
    );
    const isRung = await this.#ring(orphans, "lost");
    return isRung ? orphans.length : 0;
  }

  /** Of a lane whose head was rung with everything else, the ring time says nothing about when its messages were due. */
  #wasRungAnew({ rungAt }: LaneHead): boolean {
    const { fromMs, toMs } = this.#rungAll;
    return rungAt.getTime() > fromMs - clockSlackMs && rungAt.getTime() < toMs + clockSlackMs;
  }

  /** Rings for all; what the queue does not take is found again in the next round. True when it took everything. */
  async #ring(orphans: readonly Orphan[], reason: "expired" | "lost"): Promise<boolean> {
    if (orphans.length === 0) return true;
    const { database, queue, log, metrics } = this.#options;
    const results = await queue.push(orphans.map(({ id, group }) => ({ message: id, group })));
    const failed = orphans.filter((_, index) => results[index]?.ok !== true);
    const rung = orphans.length - failed.length;
    metrics.worker.sweeperRings.add({ reason }, rung);
    log.info("sweeper rang", { reason, count: rung });
    if (failed.length === 0) return true;
    log.warn("sweeper could not ring", { reason, count: failed.length });
    await takeBackRings(database.system, failed.map(({ id }) => id));
    return false;
  }
}
