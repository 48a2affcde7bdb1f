/** Each bucket is this much wider than the one before it, so that a quantile is right to within 1 %. */
const growth = Math.log(1.01);
const smallestMs = 0.01;
const buckets = 2_000;

/** A histogram as plain data, as one process hands it to another: bucket number and count, bucket by bucket. */
export type LatencyCounts = readonly (readonly [bucket: number, count: number])[];

/** Quantiles in milliseconds; all are 0 when nothing was measured. */
export interface LatencySummary {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Counts durations from 10 microseconds to an hour in constant memory, to within 1 %. */
export class Latencies {
  readonly #counts = new Uint32Array(buckets);
  #total = 0;
  #maxMs = 0;

  add(ms: number): void {
    const bucket = Math.ceil(Math.log(Math.max(ms, smallestMs) / smallestMs) / growth);
    this.#count(Math.min(bucket, buckets - 1), 1);
    if (ms > this.#maxMs) this.#maxMs = ms;
  }

  /** Takes in what another process counted. */
  merge(counts: LatencyCounts, maxMs: number): void {
    for (const [bucket, count] of counts) this.#count(bucket, count);
    this.#maxMs = Math.max(this.#maxMs, maxMs);
  }

  counts(): LatencyCounts {
    return [...this.#counts.entries()].filter(([, count]) => count > 0);
  }

  summary(): LatencySummary {
    return {
      count: this.#total,
      p50: this.#quantile(0.5),
      p95: this.#quantile(0.95),
      p99: this.#quantile(0.99),
      max: round(this.#maxMs),
    };
  }

  #count(bucket: number, count: number): void {
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + count;
    this.#total += count;
  }

  #quantile(share: number): number {
    const wanted = Math.ceil(share * this.#total);
    let seen = 0;
    for (const [bucket, count] of this.#counts.entries()) {
      seen += count;
      if (seen >= wanted && seen > 0) {
        return round(Math.min(smallestMs * Math.exp(bucket * growth), this.#maxMs));
      }
    }
    return 0;
  }
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
