import type { Config } from "../../lib/config/settings.ts";
import type { MessageId } from "../../lib/ids.ts";
import { longestTerms } from "../../lib/messages/body_terms.ts";
import type { BodyTerms } from "../../lib/messages/retention_table.ts";
import type { Database, HeldLock } from "../../lib/postgres/database.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { collectBodies } from "./collect_bodies.ts";
import { dropOldWeeks } from "./drop_weeks.ts";
import { firstId, giveUpDueBodies } from "./give_up_bodies.ts";
import { purgePast } from "./purge_past.ts";
import { trimRefusals } from "./trim_refused.ts";

/** How long what is kept. */
export interface RetentionTerms {
  readonly bodies: BodyTerms;
  /** Rows; absent is for ever. */
  readonly rowsMs?: number;
  /** Activities and API keys that hold no longer; absent is for ever. */
  readonly activitiesMs?: number;
}

/** What the retention job needs. */
export interface RetentionOptions {
  readonly database: Pick<Database, "system" | "tryLock">;
  readonly store: Pick<MessageStore, "remove" | "list">;
  readonly log: Log;
  readonly terms: RetentionTerms;
  /** Told of bodies that are gone from the store. */
  readonly onRemoved?: (count: number, reason: "retention" | "orphans") => void;
  /** Told how many weeks stay longer than `retention.rows` says; undefined while another process looks after them. */
  readonly onWeeksKept?: (count: number | undefined) => void;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  readonly roundMs?: number;
  /** How often another job's lock is asked for; each time costs a connection. */
  readonly askLockMs?: number;
  /** How long after its start the job first looks for bodies without a message; then a quarter of a day passes. */
  readonly collectAfterMs?: number;
  /** How long after it could not remove them: it looks at all that is stored. */
  readonly collectAgainMs?: number;
}

const lockName = "smtp_proxy.retention";
const hourMs = 3_600_000;
const walkEveryMs = hourMs;
const collectEveryMs = 6 * hourMs;
const weeksEveryMs = hourMs;
const trimEveryMs = 600_000;
const stopMs = 5000;
/** Clocks and settings of processes may differ by so much before a body goes whose client may come again. */
const resubmissionMarginMs = hourMs;

/** The terms as they are configured; nothing of a message is kept for longer than its row. */
export function retentionTerms({ retention, smtp }: Pick<Config, "retention" | "smtp">): RetentionTerms {
  return {
    bodies: {
      ...longestTerms(retention),
      unansweredMs: smtp.resubmissionWindow + resubmissionMarginMs,
    },
    ...retention.rows > 0 && { rowsMs: retention.rows },
    ...retention.activities > 0 && { activitiesMs: retention.activities },
  };
}

/**
 * Removes the bodies of messages that have been finished for long enough, bodies that belong to no message, weeks of
 * rows, and old records of refusals, activities and keys (ruling 3.15); never anything of a message that is not
 * finished. One works for a database at a time, in steps between which others have their turn; what a killed one has
 * left undone is done by the next.
 */
export class Retention implements AsyncDisposable {
  readonly #options: RetentionOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #lock: HeldLock | undefined;
  #askedAt = -Infinity;
  #walkedAt = -Infinity;
  #collectAt = Infinity;
  #weeksAt = -Infinity;
  #trimmedAt = -Infinity;
  /** Messages accepted before have been looked at since the last walk through all. */
  #from = firstId;
  #isTold = false;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#running = this.#workForever();
  }

  /** Ends after the step that is under way; a store that hangs is not waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    const ended = new AbortController();
    const running = this.#running.then(() => ended.abort());
    await sleepFor(stopMs, ended.signal);
    if (ended.signal.aborted) await running;
  }

  async #workForever(): Promise<void> {
    const { log, roundMs = 60_000, collectAgainMs = hourMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        if (await this.#holdLock()) await this.#round();
        else this.#options.onWeeksKept?.(undefined);
        this.#isTold = false;
      } catch (error) {
        // Told once, until a round succeeds.
        if (!this.#isTold) log.warn("cannot remove what is old", { error });
        this.#isTold = true;
        this.#collectAt = Math.min(this.#collectAt, performance.now() + collectAgainMs);
      }
      await sleepFor(roundMs, signal);
    }
    await this.#lock?.[Symbol.asyncDispose]();
  }

  async #holdLock(): Promise<boolean> {
    if (this.#lock !== undefined && !this.#lock.lost) return true;
    const { askLockMs = 60_000, collectAfterMs = 300_000, database } = this.#options;
    const now = performance.now();
    if (this.#lock === undefined && now - this.#askedAt < askLockMs) return false;
    this.#askedAt = now;
    this.#lock = await database.tryLock(lockName);
    if (this.#lock === undefined) return false;
    // Whoever had the lock may have died between a row and its body.
    this.#walkedAt = -Infinity;
    this.#collectAt = now + collectAfterMs;
    return true;
  }

  /** Each step is taken whatever became of the one before: a body that cannot be removed keeps no rows. */
  async #round(): Promise<void> {
    const failures: unknown[] = [];
    for (const step of this.#steps()) {
      if (this.#stop.signal.aborted) break;
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 1) throw new AggregateError(failures, `${failures.length} steps failed`);
    if (failures.length > 0) throw failures[0];
  }

  *#steps(): Generator<() => Promise<void>> {
    yield () => this.#giveUpBodies();
    const now = performance.now();
    if (now >= this.#collectAt) {
      this.#collectAt = Infinity;
      yield async () => {
        await this.#collect();
        this.#collectAt = now + collectEveryMs;
      };
    }
    if (now - this.#weeksAt >= weeksEveryMs) {
      this.#weeksAt = now;
      yield () => this.#dropWeeks();
    }
    if (now - this.#trimmedAt >= trimEveryMs) {
      this.#trimmedAt = now;
      const { bodies: _, ...terms } = this.#options.terms;
      yield async () => void await trimRefusals({ ...this.#world, ...terms });
      yield async () => void await purgePast({ ...this.#world, ...terms });
    }
  }

  async #giveUpBodies(): Promise<void> {
    const { store, terms } = this.#options;
    const now = performance.now();
    if (now - this.#walkedAt >= walkEveryMs) {
      this.#walkedAt = now;
      this.#from = firstId;
    }
    const { count, next } = await giveUpDueBodies({ ...this.#world, store, terms: terms.bodies }, this.#from);
    this.#from = next;
    this.#tellRemoved(count, "retention");
  }

  async #collect(): Promise<void> {
    const { store } = this.#options;
    const { count, failure } = await collectBodies({ ...this.#world, store });
    this.#tellRemoved(count, "orphans");
    if (failure !== undefined) throw failure.error;
  }

  #tellRemoved(count: number, reason: "retention" | "orphans"): void {
    if (count === 0) return;
    this.#options.onRemoved?.(count, reason);
    this.#options.log.info("bodies removed", { count, reason });
  }

  async #dropWeeks(): Promise<void> {
    const { log, terms: { rowsMs } } = this.#options;
    if (rowsMs === undefined) return;
    const kept: { readonly part: string; readonly messageId: MessageId }[] = [];
    const onKept = (part: string, messageId: MessageId) => void kept.push({ part, messageId });
    for (const week of await dropOldWeeks({ ...this.#world, rowsMs, onKept })) {
      log.info("week dropped", { part: week });
    }
    if (kept[0] !== undefined) log.warn("old weeks are kept", { ...kept[0], count: kept.length });
    this.#options.onWeeksKept?.(kept.length);
  }

  get #world() {
    const { database, now = Date.now } = this.#options;
    return { sql: database.system, nowMs: now(), signal: this.#stop.signal };
  }
}
