import { clearAlarm, setAlarm } from "../alarms.ts";
import { Crowd } from "../crowd.ts";
import type { GroupId } from "../ids.ts";
import type { Database } from "../postgres/database.ts";
import { isAnswerLost, NoAnswer } from "../postgres/faults.ts";
import { LaneCursors } from "./lane_cursors.ts";
import * as entries from "./postgres_entries.ts";
import type { Doorbell, LaneHead, Lease, PushResult, Queue, RowBells } from "./queue.ts";

/** The queue in PostgreSQL; every process on the same database shares it. */
export interface PostgresQueueOptions {
  /** As `smtp_proxy_intake`, which may push and ping, or `smtp_proxy_worker`, which may do everything. */
  readonly database: Database;
  /** The longest that one statement is waited for; 5 s when it is left out. */
  readonly timeoutMs?: number;
  /** The shortest time between two notifications of waiting workers; 20 ms when it is left out. */
  readonly notifyGapMs?: number;
}

/**
 * Opens the queue; nothing is asked of the database before it is needed. No lease is kept: an entry that was handed
 * out is gone, and the claim of the message's row protects the work on it (ruling 3.11). `depth` counts to 100,000.
 */
export function openPostgresQueue(options: PostgresQueueOptions): Queue {
  return new PostgresQueue(options);
}

const channel = "queue_rung";
const pushAtOnce = 1_000;
const moveAtOnce = 500;
const maxTaken = 1_000;
const countTo = 100_000;
const maxRemembered = 10_000;
const pollMs = 1_000;
const faultPauseMs = 250;
const scanEveryMs = 10_000;
const scanIdleMs = 1_000;
/** A scan may take this part of the time at most, however long one takes. */
const scanShare = 20;
const moveLookBackS = 30;

class PostgresQueue implements Queue {
  readonly #database: Database;
  readonly #timeoutMs: number;
  readonly #notifyGapMs: number;
  readonly #lanes = new LaneCursors();
  /** The last entry that this process pushed to each lane, to see whether the lane was empty. */
  readonly #pushed = new Map<GroupId, number>();
  readonly #closing = new AbortController();
  readonly #ringing = new EventTarget();
  readonly #running = new Crowd<Promise<unknown>>();
  /**
   * Notifies also when the lane was not empty, unlike ruling 3.11 for pushes: to know, the ingesting statement would
   * look for an older entry of the group, from the start of its lane's index through all the dead ones there, for it
   * has no place to begin from as a push has. What the ruling guards against, many commits that notify, the gap bounds
   * as well, and none of them is the ingesting one.
   */
  readonly rowBells: RowBells = { rang: () => this.#notify() };
  #listening: AsyncDisposable | undefined;
  #rings = 0;
  #notifying = false;
  #notifyAgain = false;
  #scannedAt = -Infinity;
  #scanTookMs = 0;
  #nextMove = 0;
  #moveSince = 0;
  #moveAllAt = 0;

  constructor(options: PostgresQueueOptions) {
    this.#database = options.database;
    this.#timeoutMs = options.timeoutMs ?? 5_000;
    this.#notifyGapMs = options.notifyGapMs ?? 20;
  }

  async push(bells: readonly Doorbell[], delayMs = 0): Promise<readonly PushResult[]> {
    const results: PushResult[] = [];
    for (let at = 0; at < bells.length; at += pushAtOnce) {
      const some = bells.slice(at, at + pushAtOnce);
      const result = await this.#pushSome(some, delayMs);
      for (let count = 0; count < some.length; count++) results.push(result);
    }
    return results;
  }

  async reserve(
    max: number,
    waitMs: number,
    skip?: ReadonlySet<GroupId>,
    signal?: AbortSignal,
  ): Promise<readonly Lease[]> {
    const until = performance.now() + waitMs;
    while (!this.#closing.signal.aborted && !signal?.aborted) {
      const rings = this.#rings;
      try {
        const leases = await this.#take(Math.min(max, maxTaken), skip ?? new Set());
        const left = until - performance.now();
        if (leases.length > 0) return leases;
        if (left <= 0) break;
        const nextMoveMs = this.#nextMove - performance.now();
        await this.#rung(rings, Math.max(1, Math.min(left, pollMs, nextMoveMs)));
      } catch (error) {
        this.#forget();
        if (this.#closing.signal.aborted) break;
        const left = until - performance.now();
        if (left <= 0) throw error;
        await this.#pause(Math.min(left, faultPauseMs));
      }
    }
    return [];
  }

  async done(_lease: Lease): Promise<void> {}

  async again(lease: Lease, delayMs: number): Promise<void> {
    const [result] = await this.push([lease], Math.max(0, delayMs));
    if (result !== undefined && !result.ok) throw result.error;
  }

  async depth(): Promise<{ readonly due: number; readonly delayed: number; readonly leased: number }> {
    const counts = await this.#ask(
      entries.countEntries(this.#database.system, this.#lanes.lowest(), countTo),
    );
    return { ...counts, leased: 0 };
  }

  async heads(): Promise<readonly LaneHead[]> {
    const { heads } = await this.#scan();
    return heads.map(({ group, rungAt }) => ({ group, rungAt }));
  }

  async epoch(): Promise<string | undefined> {
    return await this.#ask(entries.readEpoch(this.#database.system));
  }

  async beginEpoch(candidate: string): Promise<string> {
    for (;;) {
      await this.#ask(entries.insertEpoch(this.#database.system, candidate));
      const epoch = await this.epoch();
      if (epoch !== undefined) return epoch;
    }
  }

  async ping(): Promise<void> {
    await this.#ask(entries.askNothing(this.#database.system));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#listening?.[Symbol.asyncDispose]();
    this.#listening = undefined;
    await Promise.allSettled(this.#running);
  }

  async #pushSome(bells: readonly Doorbell[], delayMs: number): Promise<PushResult> {
    const sql = this.#database.system;
    if (this.#closing.signal.aborted) {
      return { ok: false, doubtful: false, error: new Error("Cannot push: the queue is closed") };
    }
    try {
      if (delayMs > 0) {
        await this.#ask(entries.pushDelayed(sql, bells, delayMs));
        this.#nextMove = Math.min(this.#nextMove, performance.now() + delayMs);
      } else {
        const groups = new Set(bells.map(({ group }) => group));
        const known = [...groups].map((group) => ({ group, from: this.#pushed.get(group) ?? 0 }))
          .filter(({ from }) => from > 0);
        this.#remember(await this.#ask(entries.pushEntries(sql, bells, known)));
      }
      return { ok: true };
    } catch (error) {
      const fault = error instanceof Error ? error : new Error(String(error));
      return { ok: false, doubtful: isDoubtful(fault), error: fault };
    }
  }

  /** Workers are told of a lane that was empty; of one that was not, they know already. */
  #remember(lanes: readonly entries.PushedLane[]): void {
    for (const { group, lastId } of lanes) {
      this.#pushed.delete(group);
      this.#pushed.set(group, lastId);
    }
    for (const group of this.#pushed.keys()) {
      if (this.#pushed.size <= maxRemembered) break;
      this.#pushed.delete(group);
    }
    if (lanes.some(({ waited }) => !waited)) this.#notify();
  }

  /**
   * At once when the last is longer ago than the gap; else one for all that rang meanwhile, when the gap has passed: a
   * commit that notifies locks out others.
   */
  #notify(): void {
    this.#notifyAgain = true;
    if (this.#notifying) return;
    this.#notifying = true;
    this.#keep(this.#notifyWhileWanted());
  }

  async #notifyWhileWanted(): Promise<void> {
    try {
      while (this.#notifyAgain && !this.#closing.signal.aborted) {
        this.#notifyAgain = false;
        await this.#ask(entries.notifyWaiting(this.#database.system, channel));
        if (!this.#closing.signal.aborted) await this.#pause(this.#notifyGapMs);
      }
    } catch {
      // Workers look each second besides; what is wrong with the database, the next push tells.
      this.#notifyAgain = false;
    } finally {
      this.#notifying = false;
    }
  }

  async #take(max: number, skip: ReadonlySet<GroupId>): Promise<readonly Lease[]> {
    if (performance.now() >= this.#nextMove) await this.#move();
    if (performance.now() - this.#scannedAt >= this.#scanGap(scanEveryMs)) await this.#scan();
    for (let tries = 0; tries < 3; tries++) {
      const leases = await this.#takeKnown(max, skip);
      if (leases.length > 0) return leases;
      if (this.#lanes.next(1, skip).length > 0) continue;
      if (performance.now() - this.#scannedAt < this.#scanGap(scanIdleMs)) break;
      await this.#scan();
    }
    return [];
  }

  async #takeKnown(max: number, skip: ReadonlySet<GroupId>): Promise<readonly Lease[]> {
    const lanes = this.#lanes.next(max, skip);
    const share = Math.ceil(max / Math.max(1, lanes.length));
    const began = this.#lanes.began();
    const after = this.#lanes.newsAfter(performance.now());
    const taken = await this.#ask(entries.takeEntries(this.#database.system, lanes, share, max, after));
    const ids = Map.groupBy(taken.entries, ({ group }) => group);
    const idsOf = new Map([...ids].map(([group, some]) => [group, some.map(({ id }) => id)]));
    this.#lanes.served(began, lanes, share, idsOf, taken.entries.length < max);
    this.#lanes.heard(taken.news);
    if (taken.isMore) await this.#scan();
    return taken.entries.map(({ group, message, id }) => ({ group, message, token: String(id) }));
  }

  async #scan() {
    const start = performance.now();
    const scan = await this.#ask(entries.scanHeads(this.#database.system));
    this.#lanes.scanned(scan.heads, scan.newestId);
    this.#scannedAt = performance.now();
    this.#scanTookMs = this.#scannedAt - start;
    return scan;
  }

  #scanGap(ms: number): number {
    return Math.max(ms, scanShare * this.#scanTookMs);
  }

  /** Delayed entries that fell due long ago were moved long ago; from the very first is looked once in a while. */
  async #move(): Promise<void> {
    const start = performance.now();
    const isAll = start >= this.#moveAllAt;
    const moved = await this.#ask(
      entries.moveDue(this.#database.system, moveAtOnce, isAll ? 0 : this.#moveSince),
    );
    if (moved.count === moveAtOnce) return;
    if (isAll) this.#moveAllAt = start + scanEveryMs;
    this.#moveSince = moved.at - moveLookBackS;
    this.#nextMove = performance.now() + Math.min(pollMs, moved.nextMs ?? pollMs);
  }

  /** Resolves when a push was told after `rings` was counted, after `ms`, or when the queue is closed. */
  async #rung(rings: number, ms: number): Promise<void> {
    const ring = () => {
      this.#rings++;
      this.#ringing.dispatchEvent(new Event("ring"));
    };
    if (this.#closing.signal.aborted) return;
    this.#listening ??= this.#database.listen(channel, ring, ring);
    if (this.#rings === rings) await this.#pause(ms, this.#ringing);
  }

  #forget(): void {
    this.#lanes.forget();
    this.#scannedAt = -Infinity;
    this.#moveAllAt = 0;
  }

  async #pause(ms: number, ringing?: EventTarget): Promise<void> {
    if (this.#closing.signal.aborted) return;
    const waited = Promise.withResolvers<void>();
    const timer = setTimeout(waited.resolve, ms);
    const stop = () => waited.resolve();
    this.#closing.signal.addEventListener("abort", stop);
    ringing?.addEventListener("ring", stop);
    await waited.promise;
    clearTimeout(timer);
    this.#closing.signal.removeEventListener("abort", stop);
    ringing?.removeEventListener("ring", stop);
  }

  /** What the database says, or after `timeoutMs` that it says nothing. */
  async #ask<T>(answer: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const alarm = setAlarm(this.#timeoutMs, () => late.reject(new NoAnswer(this.#timeoutMs)));
    this.#keep(answer);
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      clearAlarm(alarm);
    }
  }

  /** Closing waits for what is under way. */
  #keep(work: Promise<unknown>): void {
    const place = this.#running.enter(work);
    const ended = () => this.#running.leave(work, place);
    work.then(ended, ended);
  }
}

/** A server's error is an answer, and so is a connection that was never made. */
function isDoubtful(error: Error): boolean {
  if (error instanceof NoAnswer) return true;
  return isAnswerLost(error) && !/ECONNREFUSED|ENOTFOUND|timeout expired/.test(String(error));
}
