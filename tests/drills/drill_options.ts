import { parseArgs } from "node:util";
import { type CommandLine, wholeNumber } from "../support/command_line.ts";
import { disturbances } from "./disturbances.ts";
import type { DrillOptions } from "./drill.ts";

/** The drill that is none of the disturbances: FLUSHALL with many messages waiting. */
export const backlogName = "flush_backlog";

/** How a run of drills was asked for. */
export interface DrillPlan extends DrillOptions {
  /** In the order they were named; all of them when none is. */
  readonly names: readonly string[];
  /** Messages that wait at the FLUSHALL. */
  readonly backlog: number;
  /** In place of the queue that a drill is meant for; some have nothing to do with the queue. */
  readonly queue?: "postgres" | "redis";
}

const names = [...disturbances.map(({ name }) => name), backlogName];

const flags = {
  messages: { type: "string", default: "20000", help: "messages that are sent" },
  backlog: {
    type: "string",
    default: "100000",
    help: `messages that wait at the FLUSHALL of ${backlogName}`,
  },
  rate: { type: "string", default: "300", help: "messages a second; 0 is as fast as the answers come" },
  size: { type: "string", default: "10240", help: "bytes of a message" },
  recipients: { type: "string", default: "2", help: "recipients of a message" },
  sessions: { type: "string", default: "20", help: "clients at a time" },
  last: { type: "string", default: "31", help: "seconds of what has a length" },
  queue: { type: "string", help: "postgres or redis, in place of the drill's own" },
} as const;

/** What `deno task drill` can be asked for. */
export const commandLine: CommandLine = { call: "deno task drill [DRILL…]", names, flags };

/** Reads the command line; throws a TypeError that names what is wrong. */
export function parseDrillPlan(args: readonly string[]): DrillPlan {
  const { values, positionals } = parseArgs({ args: [...args], allowPositionals: true, options: flags });
  const unknown = positionals.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new TypeError(`Cannot run drill ${unknown}: there are ${names.join(", ")}`);
  }
  const { queue } = values;
  if (queue !== undefined && queue !== "postgres" && queue !== "redis") {
    throw new TypeError(`Cannot use --queue: ${queue} is neither postgres nor redis`);
  }
  return {
    names: positionals.length === 0 ? names : positionals,
    messages: wholeNumber("messages", values.messages, 1),
    backlog: wholeNumber("backlog", values.backlog, 1),
    rate: wholeNumber("rate", values.rate, 0),
    size: wholeNumber("size", values.size, 1),
    recipients: wholeNumber("recipients", values.recipients, 1),
    sessions: wholeNumber("sessions", values.sessions, 1),
    lastMs: 1_000 * wholeNumber("last", values.last, 1),
    graceMs: 60_000,
    ...(queue === undefined ? {} : { queue }),
  };
}
