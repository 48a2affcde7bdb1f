import { announceWorker, succeedWorker, touchWorker } from "../../lib/messages/claims_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import type { Database, HeldLock } from "../../lib/postgres/database.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";

/** Who is present. */
export interface PresenceOptions {
  readonly sql: SystemSql;
  /** Kept across restarts, and nobody else's while this process lives. */
  readonly name: string;
  readonly incarnation: string;
  readonly log: Log;
  /**
   * How long the process before must have been silent while this one looked on. Zero where the name itself proves that
   * it is gone, as a port does that only one process can have.
   */
  readonly watchMs?: number;
  /** Silence after which the process before counts as gone; six seconds when not given. */
  readonly goneAfterMs?: number;
  /** Told when claims of the process before were ended, so that they can be rung at once. */
  readonly onFreed: () => void;
}

const touchMs = 2000;
/** By so much less than the time of looking on a sign of life must be old to have come meanwhile. */
const slackMs = 500;
/** Silence after which the process before counts as gone. */
export const goneMs = 6000;
const lockPatienceMs = 3000;
const againMs = 1000;

/**
 * Keeps a worker's sign of life and takes over from the process that had its name before: once that has given none
 * for six seconds its claims are ended, so that nothing waits for their leases.
 */
export class Presence implements AsyncDisposable {
  readonly #options: PresenceOptions;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;
  #isPresent = false;
  /** Since when every look at the process before was answered, and showed no sign of life. */
  #watchedSince: number | undefined;
  /** The process before has given a sign of life: the port proves nothing, as where two hosts have one name. */
  #isRivalled = false;

  constructor(options: PresenceOptions) {
    this.#options = options;
    this.#running = this.#keep();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        this.#isPresent = this.#isPresent ? await this.#touch() : await this.#announce();
      } catch (error) {
        this.#options.log.debug("cannot give a sign of life", { error });
        // Nor could the process before, so that its silence says nothing.
        this.#watchedSince = undefined;
      }
      await sleepFor(this.#isPresent ? touchMs : againMs, signal);
    }
  }

  async #touch(): Promise<boolean> {
    const { sql, name, incarnation, log } = this.#options;
    if (await touchWorker(sql, name, incarnation)) return true;
    log.error("another process has this worker's name", { part: name });
    return false;
  }

  async #announce(): Promise<boolean> {
    const { sql, name, incarnation, watchMs = 0, goneAfterMs = goneMs, log, onFreed } = this.#options;
    const { previous, seenMsAgo = 0 } = await announceWorker(sql, name, incarnation);
    if (previous === undefined || previous === incarnation) return true;
    const now = performance.now();
    this.#watchedSince ??= now;
    if (seenMsAgo + slackMs < now - this.#watchedSince) this.#noteRival(now);
    const enoughMs = this.#isRivalled ? Math.max(watchMs, goneAfterMs) : watchMs;
    if (seenMsAgo < goneAfterMs || now - this.#watchedSince < enoughMs) return false;
    const freed = await succeedWorker(sql, name, previous, incarnation);
    if (freed === undefined) return false;
    if (freed > 0) {
      log.info("claims of the process before were ended", { count: freed });
      onFreed();
    }
    return true;
  }

  #noteRival(now: number): void {
    const { name, log } = this.#options;
    if (!this.#isRivalled) log.error("another process has this worker's name", { part: name });
    this.#isRivalled = true;
    this.#watchedSince = now;
  }
}

/**
 * Takes a worker's name by a lock in the database, where no port proves that nobody else has it; undefined when another
 * process has it, or the signal came first. A killed process loses its lock within moments, so it is asked for a while.
 * Whoever has the lock may still have lost it unnoticed, so its successor has to watch it being silent as well.
 */
export async function takeName(
  database: Pick<Database, "tryLock">,
  name: string,
  signal: AbortSignal,
  patienceMs = lockPatienceMs,
): Promise<HeldLock | undefined> {
  const began = performance.now();
  for (;;) {
    const lock = await database.tryLock(`smtp_proxy.worker.${name}`);
    if (lock !== undefined || performance.now() - began >= patienceMs) return lock;
    await sleepFor(againMs / 4, signal);
    if (signal.aborted) return undefined;
  }
}
