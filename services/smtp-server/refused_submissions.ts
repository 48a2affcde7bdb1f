import { withoutKeys } from "../../lib/api_keys/api_key.ts";
import { coalesce } from "../../lib/coalesce.ts";
import { newId, type RefusedSubmissionId } from "../../lib/ids.ts";
import { addressKey } from "../../lib/network/cidr.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { isOutage } from "../../lib/postgres/faults.ts";
import {
  insertRefused,
  type RefusedSubmission,
} from "../../lib/refused_submissions/refused_submissions_table.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import type { RefusedStep } from "./intake.ts";

/** What keeping records takes. */
export interface RefusedOptions {
  /** Writes one record, together with others; rejects when it cannot be written. */
  write(record: RefusedSubmission): Promise<void>;
  /** Told what became of so many refusals. */
  onResult(result: "stored" | "counted" | "left_out" | "lost", count: number): void;
  /** Told once for each time that writing begins to fail. */
  onFault(error: unknown): void;
  readonly now?: () => Date;
  /** Refusals of this long are written together; 1,000 ms when not given. */
  readonly gatherMs?: number;
  /** Refusals of one kind within this long are one record after the first; 60,000 ms when not given. */
  readonly windowMs?: number;
  /** How long what is not written yet is waited for at the end; 2,000 ms when not given. */
  readonly stopMs?: number;
  readonly shares?: Partial<typeof defaultShares>;
}

/** Kinds of refusals that are told apart within one window. */
const defaultShares = {
  /** Of one client address (IPv6: /64) that has not logged in. */
  ofAddress: 30,
  ofGroup: 120,
  /** Of these, half at most of clients that have not logged in: no crowd of them hides what a group was refused. */
  inAll: 1000,
};
const longestAccount = 255;

/** Refusals beside the first of their kind, at the end of the window one record. */
interface Tally {
  record: RefusedSubmission | undefined;
  more: number;
  firstAt: Date;
}

/**
 * Keeps a record of refused logins and mail. The first of a kind (account, address, reason) is written within a second;
 * those after it in the same minute are counted, and written as one when it is over. Memory and writes are bounded by
 * shares of each address, each group and all; what is beyond is counted only. Never makes anybody wait.
 */
export class RefusedSubmissions implements AsyncDisposable {
  readonly #options: RefusedOptions;
  readonly #gatherMs: number;
  readonly #windowMs: number;
  readonly #shares: typeof defaultShares;
  readonly #tallies = new Map<string, Tally>();
  readonly #used = new Map<string, number>();
  #strangers = 0;
  readonly #writing = new Set<Promise<void>>();
  #fresh: RefusedSubmission[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #windowEndsAt = 0;
  #isFailing = false;

  constructor(options: RefusedOptions) {
    this.#options = options;
    this.#gatherMs = options.gatherMs ?? 1000;
    this.#windowMs = options.windowMs ?? 60_000;
    this.#shares = { ...defaultShares, ...options.shares };
  }

  /** Takes note of one refusal; returns at once and never throws. */
  note(step: RefusedStep): void {
    const now = (this.#options.now ?? defaultNow)();
    const { identity, client, reason } = step;
    // Who gives a key for the name gives a secret away; and nobody's name is longer.
    const account = withoutKeys(identity?.username ?? step.tried ?? "").slice(0, longestAccount);
    const address = addressKey(client.address);
    const key = JSON.stringify([identity?.group, account.toLowerCase(), address, reason]);
    const tally = this.#tallies.get(key);
    if (tally !== undefined) {
      if (tally.more === 0) tally.firstAt = now;
      tally.more++;
      tally.record = recordOf(step, account, now);
      return this.#options.onResult("counted", 1);
    }
    if (!this.#takeShare(identity?.group ?? address, identity !== undefined)) {
      return this.#options.onResult("left_out", 1);
    }
    this.#tallies.set(key, { record: undefined, more: 0, firstAt: now });
    this.#fresh.push(recordOf(step, account, now));
    this.#wake();
  }

  /** Writes what is not written yet; a database that hangs is not waited for. */
  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    this.#closeWindow();
    this.#writeFresh();
    const written = new AbortController();
    const writing = Promise.all(this.#writing).then(() => written.abort());
    await sleepFor(this.#options.stopMs ?? 2000, written.signal);
    if (written.signal.aborted) await writing;
  }

  #takeShare(whose: string, isGroup: boolean): boolean {
    const used = this.#used.get(whose) ?? 0;
    const { ofGroup, ofAddress, inAll } = this.#shares;
    if (used >= (isGroup ? ofGroup : ofAddress) || this.#tallies.size >= inAll) return false;
    if (!isGroup && this.#strangers >= inAll / 2) return false;
    if (!isGroup) this.#strangers++;
    this.#used.set(whose, used + 1);
    return true;
  }

  #wake(): void {
    if (this.#timer !== undefined) return;
    this.#windowEndsAt = performance.now() + this.#windowMs;
    this.#timer = setTimeout(() => this.#tick(), this.#gatherMs);
  }

  #tick(): void {
    const isOver = performance.now() >= this.#windowEndsAt;
    if (isOver) this.#closeWindow();
    this.#writeFresh();
    this.#timer = isOver ? undefined : setTimeout(() => this.#tick(), this.#gatherMs);
  }

  #closeWindow(): void {
    for (const { record, more, firstAt } of this.#tallies.values()) {
      if (record !== undefined) this.#fresh.push({ ...record, times: more, firstAt });
    }
    this.#tallies.clear();
    this.#used.clear();
    this.#strangers = 0;
  }

  #writeFresh(): void {
    const records = this.#fresh;
    this.#fresh = [];
    for (const record of records) {
      const writing = this.#write(record).finally(() => this.#writing.delete(writing));
      this.#writing.add(writing);
    }
  }

  async #write(record: RefusedSubmission): Promise<void> {
    try {
      await this.#options.write(record);
      this.#isFailing = false;
      this.#options.onResult("stored", 1);
    } catch (error) {
      this.#options.onResult("lost", 1);
      if (!this.#isFailing) this.#options.onFault(error);
      this.#isFailing = true;
    }
  }
}

function defaultNow(): Date {
  return new Date();
}

function recordOf(step: RefusedStep, account: string, at: Date): RefusedSubmission {
  const { identity, client, reply, reason, text, command, sender, correlationId } = step;
  return {
    id: newId<RefusedSubmissionId>(),
    group: identity?.group,
    account: account === "" ? undefined : account,
    address: client.address,
    command,
    sender,
    code: reply.code,
    enhanced: reply.enhanced,
    reason,
    reply: text,
    tls: client.tls,
    correlationId,
    times: 1,
    firstAt: at,
    lastAt: at,
  };
}

const maxWaiting = 2000;

/** Keeps them in PostgreSQL. */
export function openRefusedSubmissions(
  database: Pick<Database, "system">,
  { log, metrics, ...times }: { readonly log: Log; readonly metrics: Metrics; readonly stopMs?: number },
): RefusedSubmissions {
  const { batchSize } = metrics.process;
  const write = coalesce<RefusedSubmission, void>(async (records) => {
    await insertRefused(database.system, records);
    return records.map(() => ({ ok: true, value: undefined }));
  }, { maxWaiting, isOutage, onBatch: (size) => batchSize.observe({ step: "refusals" }, size) });
  return new RefusedSubmissions({
    ...times,
    write,
    onResult: (result, count) => metrics.smtp.refusalRecords.add({ result }, count),
    onFault: (error) => log.warn("refusals not recorded", { error }),
  });
}
