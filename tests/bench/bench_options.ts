import { parseArgs } from "node:util";
import { type CommandLine, wholeNumber } from "../support/command_line.ts";

/** What the bench can measure. */
export const caseNames = [
  "accept",
  "half",
  "drain",
  "esps",
  "both",
  "decay",
  "memory",
  "flood",
  "shapes",
  "redis",
  "login",
  "api",
  "lists",
] as const;
export type CaseName = (typeof caseNames)[number];

/** How a run of the bench was asked for. */
export interface BenchOptions {
  /** In the order of `caseNames`; all of them when none is named. */
  readonly cases: readonly CaseName[];
  /** Measured runs of each server under each load; the median counts. */
  readonly rounds: number;
  /** Length of one measured run. */
  readonly seconds: number;
  /** Messages that wait when draining begins. */
  readonly stored: number;
  /** Length of accepting and delivering at once. */
  readonly bothSeconds: number;
  /** A decay run is so many slices of so many seconds; the last is compared with the first. */
  readonly decaySlices: number;
  readonly decaySliceSeconds: number;
  /** Messages after which resident memory is compared. */
  readonly memoryEarly: number;
  readonly memoryLate: number;
  /** Messages of the database that the API's cases ask. */
  readonly rows: number;
  /** How often each list is asked for. */
  readonly listTimes: number;
  /** Where databases, queues and bodies lie while the bench runs; it should be on the disk that is meant. */
  readonly data: string;
}

const flags = {
  rounds: { type: "string", default: "3", help: "measured runs of each server under each load" },
  seconds: { type: "string", default: "5", help: "length of one such run" },
  stored: { type: "string", default: "50000", help: "messages that wait when draining begins" },
  "both-seconds": { type: "string", default: "300", help: "length of accepting and delivering at once" },
  "decay-slices": { type: "string", default: "10", help: "slices of a decay run" },
  "decay-slice-seconds": { type: "string", default: "60", help: "length of a slice" },
  "memory-early": { type: "string", default: "20000", help: "messages before memory is looked at" },
  "memory-late": { type: "string", default: "100000", help: "messages before it is looked at again" },
  rows: { type: "string", default: "1000000", help: "messages of the database that the API is asked for" },
  "list-times": { type: "string", default: "500", help: "how often each list is asked for" },
  data: { type: "string", default: ".data/bench", help: "folder, on the disk that is meant" },
} as const;

/** What `deno task bench` can be asked for. */
export const commandLine: CommandLine = { call: "deno task bench [CASE…]", names: caseNames, flags };

/** Reads the command line; throws a TypeError that names what is wrong. */
export function parseBenchOptions(args: readonly string[]): BenchOptions {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: flags });
  const unknown = positionals.find((name) => !isCaseName(name));
  if (unknown !== undefined) {
    throw new TypeError(`Cannot run case ${unknown}: there are ${caseNames.join(", ")}`);
  }
  return {
    cases: caseNames.filter((name) => positionals.length === 0 || positionals.includes(name)),
    rounds: positive("rounds", values.rounds),
    seconds: positive("seconds", values.seconds),
    stored: positive("stored", values.stored),
    bothSeconds: positive("both-seconds", values["both-seconds"]),
    decaySlices: positive("decay-slices", values["decay-slices"]),
    decaySliceSeconds: positive("decay-slice-seconds", values["decay-slice-seconds"]),
    memoryEarly: positive("memory-early", values["memory-early"]),
    memoryLate: positive("memory-late", values["memory-late"]),
    rows: positive("rows", values.rows),
    listTimes: positive("list-times", values["list-times"]),
    data: values.data,
  };
}

function isCaseName(name: string): name is CaseName {
  return caseNames.some((known) => known === name);
}

function positive(flag: string, text: string): number {
  return wholeNumber(flag, text, 1);
}
