import { Latencies, type LatencyCounts, type LatencySummary } from "./latency.ts";

/** What one process of the load generator hands to the one that started it. */
export interface LoadCounts {
  readonly acked: number;
  readonly refused: number;
  readonly doubtful: number;
  readonly resent: number;
  readonly connections: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly ackedBySlice: readonly number[];
  readonly dataTo250: LatencyCounts;
  readonly mailTo250: LatencyCounts;
  readonly maxDataMs: number;
  readonly maxMailMs: number;
  /** How far behind its due time the latest message began, in milliseconds; 0 without a rate. */
  readonly maxLateMs: number;
  /** From the first connect to the last 250. */
  readonly seconds: number;
  readonly cpuSeconds: number;
}

/** The one line that a run prints. */
export interface LoadReport {
  readonly run: string;
  readonly acked: number;
  /** Answered with something other than 250 and not sent again. */
  readonly refused: number;
  /** The closing dot was written and no answer came. */
  readonly doubtful: number;
  /** Messages whose closing dot was written more than once. */
  readonly resent: number;
  readonly connections: number;
  readonly seconds: number;
  readonly perSecond: number;
  readonly dataTo250: LatencySummary;
  readonly mailTo250: LatencySummary;
  readonly maxLateMs: number;
  readonly ackedBySlice: readonly number[];
  readonly errors: Readonly<Record<string, number>>;
  readonly cpuSeconds: number;
  readonly cpuMicrosPerMessage: number;
}

/** Counts what happens in a run; several processes' counts add up. */
export class LoadTally {
  readonly #dataTo250 = new Latencies();
  readonly #mailTo250 = new Latencies();
  readonly #slices: number[] = [];
  readonly #errors = new Map<string, number>();
  readonly #began: number;
  #lastAck = 0;
  #acked = 0;
  #maxLateMs = 0;
  #seconds = 0;
  #cpuSeconds = 0;
  refused = 0;
  doubtful = 0;
  resent = 0;
  connections = 0;

  constructor(private readonly sliceSeconds: number, now: number) {
    this.#began = now;
  }

  /** A 250 was read at `now`; the message's MAIL and its closing dot were written at the two other times. */
  ack(now: number, mailAt: number, dotAt: number): void {
    this.#acked++;
    this.#lastAck = now;
    this.#dataTo250.add(now - dotAt);
    this.#mailTo250.add(now - mailAt);
    const slice = Math.floor((now - this.#began) / 1_000 / this.sliceSeconds);
    this.#slices[slice] = (this.#slices[slice] ?? 0) + 1;
  }

  late(ms: number): void {
    this.#maxLateMs = Math.max(this.#maxLateMs, ms);
  }

  error(what: string): void {
    this.#errors.set(what, (this.#errors.get(what) ?? 0) + 1);
  }

  merge(counts: LoadCounts): void {
    this.#acked += counts.acked;
    this.refused += counts.refused;
    this.doubtful += counts.doubtful;
    this.resent += counts.resent;
    this.connections += counts.connections;
    for (const [what, times] of Object.entries(counts.errors)) {
      this.#errors.set(what, (this.#errors.get(what) ?? 0) + times);
    }
    for (const [slice, acked] of counts.ackedBySlice.entries()) {
      this.#slices[slice] = (this.#slices[slice] ?? 0) + acked;
    }
    this.#dataTo250.merge(counts.dataTo250, counts.maxDataMs);
    this.#mailTo250.merge(counts.mailTo250, counts.maxMailMs);
    this.#maxLateMs = Math.max(this.#maxLateMs, counts.maxLateMs);
    this.#seconds = Math.max(this.#seconds, counts.seconds);
    this.#cpuSeconds += counts.cpuSeconds;
  }

  counts(cpuSeconds: number): LoadCounts {
    return {
      acked: this.#acked,
      refused: this.refused,
      doubtful: this.doubtful,
      resent: this.resent,
      connections: this.connections,
      errors: Object.fromEntries(this.#errors),
      ackedBySlice: Array.from(this.#slices, (acked) => acked ?? 0),
      dataTo250: this.#dataTo250.counts(),
      mailTo250: this.#mailTo250.counts(),
      maxDataMs: this.#dataTo250.summary().max,
      maxMailMs: this.#mailTo250.summary().max,
      maxLateMs: this.#maxLateMs,
      seconds: Math.max(0, this.#lastAck - this.#began) / 1_000,
      cpuSeconds,
    };
  }

  /** The whole run; only meaningful after every process's counts were merged. */
  report(run: string): LoadReport {
    return {
      run,
      acked: this.#acked,
      refused: this.refused,
      doubtful: this.doubtful,
      resent: this.resent,
      connections: this.connections,
      seconds: rounded(this.#seconds, 3),
      perSecond: rounded(this.#seconds === 0 ? 0 : this.#acked / this.#seconds, 1),
      dataTo250: this.#dataTo250.summary(),
      mailTo250: this.#mailTo250.summary(),
      maxLateMs: rounded(this.#maxLateMs, 1),
      ackedBySlice: Array.from(this.#slices, (acked) => acked ?? 0),
      errors: Object.fromEntries(this.#errors),
      cpuSeconds: rounded(this.#cpuSeconds, 3),
      cpuMicrosPerMessage: Math.round(this.#acked === 0 ? 0 : this.#cpuSeconds * 1e6 / this.#acked),
    };
  }
}

function rounded(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
