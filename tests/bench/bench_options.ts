import { parseArgs } from "node:util";

/** What the bench can measure. */
export const caseNames = ["accept"] as const;
export type CaseName = (typeof caseNames)[number];

/** How a run of the bench was asked for. */
export interface BenchOptions {
  /** In the order of `caseNames`; all of them when none is named. */
  readonly cases: readonly CaseName[];
  /** Measured runs of each server under each load; the median counts. */
  readonly rounds: number;
  /** Length of one measured run. */
  readonly seconds: number;
  /** Where databases, queues and bodies lie while the bench runs; it should be on the disk that is meant. */
  readonly data: string;
}

/** Reads the command line; throws an error that names what is wrong. */
export function parseBenchOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      rounds: { type: "string", default: "3" },
      seconds: { type: "string", default: "5" },
      data: { type: "string", default: ".data/bench" },
    },
  });
  const unknown = positionals.find((name) => !isCaseName(name));
  if (unknown !== undefined) {
    throw new TypeError(`Cannot run case ${unknown}: there are ${caseNames.join(", ")}`);
  }
  return {
    cases: caseNames.filter((name) => positionals.length === 0 || positionals.includes(name)),
    rounds: positive("rounds", values.rounds),
    seconds: positive("seconds", values.seconds),
    data: values.data,
  };
}

function isCaseName(name: string): name is CaseName {
  return caseNames.some((known) => known === name);
}

function positive(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new TypeError(`Cannot use --${flag}: ${text} is not a whole number above 0`);
}
