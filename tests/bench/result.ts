import type { LoadReport } from "./load_tally.ts";
import type { Usage } from "./measure.ts";

/** What one case measured of one server under one load: a JSON line of the bench. */
export interface Result {
  readonly case: string;
  readonly target: string;
  readonly load: string;
  /** Named numbers; milliseconds where the name says nothing else. */
  readonly values: Readonly<Record<string, number>>;
  readonly errors?: Readonly<Record<string, number>>;
}

/** The numbers of one run of the load generator against one server. */
export function valuesOf(report: LoadReport, usage: Usage): Record<string, number> {
  return {
    perSecond: report.perSecond,
    p50: report.dataTo250.p50,
    p95: report.dataTo250.p95,
    p99: report.dataTo250.p99,
    max: report.dataTo250.max,
    mailP99: report.mailTo250.p99,
    cpuSecondsPer1000: rounded(usage.cpuSeconds * 1_000 / Math.max(1, report.acked), 3),
    peakRssMiB: usage.peakRssMiB,
    peakPssMiB: usage.peakPssMiB,
    loadCpuSecondsPer1000: rounded(report.cpuSeconds * 1_000 / Math.max(1, report.acked), 3),
  };
}

/** The median of every number, and beside the rate its lowest and highest. */
export function medianOf(runs: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = Object.keys(runs[0] ?? {});
  const medians = Object.fromEntries(names.map((name) => [name, median(runs.map((run) => run[name] ?? 0))]));
  const rates = runs.map((run) => run["perSecond"] ?? 0);
  return { ...medians, lowestPerSecond: Math.min(...rates), highestPerSecond: Math.max(...rates) };
}

/** The errors of several runs added up. */
export function sumOfErrors(reports: readonly LoadReport[]): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const [what, times] of reports.flatMap((report) => Object.entries(report.errors))) {
    sums[what] = (sums[what] ?? 0) + times;
  }
  return sums;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : rounded((upper + (sorted[middle - 1] ?? 0)) / 2, 3);
}

function rounded(value: number, digits: number): number {
  return Math.round(value * 10 ** digits) / 10 ** digits;
}
