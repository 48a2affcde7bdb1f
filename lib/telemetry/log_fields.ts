import type { CallId, GroupId, MessageId, ProviderId, UserId } from "../ids.ts";
import { redactField } from "./redact.ts";

interface Vocabulary {
  // whose and what
  readonly messageId: MessageId;
  readonly group: GroupId;
  readonly user: UserId;
  readonly username: string;
  readonly provider: ProviderId;
  readonly providerName: string;
  readonly providerType: string;
  readonly call: CallId;
  /** Joins all lines of one SMTP session, and of what became of its messages. */
  readonly correlationId: string;
  readonly session: string;
  // the other end
  readonly remoteAddress: string;
  readonly helo: string;
  readonly tls: string;
  readonly host: string;
  readonly port: number;
  readonly method: string;
  readonly path: string;
  readonly httpStatus: number;
  // how it went
  readonly code: string | number;
  readonly reply: string;
  readonly reason: string;
  readonly detail: string;
  readonly status: string;
  readonly outcome: string;
  readonly state: string;
  readonly attempt: number;
  readonly durationMs: number;
  readonly delayMs: number;
  readonly error: unknown;
  // how much
  readonly size: number;
  readonly count: number;
  readonly limit: number;
  readonly recipients: number;
  readonly freeBytes: number;
  // our own parts
  readonly store: string;
  readonly storageRef: string;
  readonly segment: string;
  readonly queue: string;
  readonly epoch: string;
  readonly setting: string;
  readonly file: string;
  readonly migration: string;
  readonly mode: string;
  readonly version: string;
  readonly part: string;
  readonly signal: string;
  readonly child: string;
  readonly childPid: number;
  readonly exitCode: number;
}

/** The one vocabulary of log fields; a new field is a new line here. Never bodies, never secrets. */
export type LogFields = { readonly [Name in keyof Vocabulary]?: Vocabulary[Name] | undefined };

/** How severe a line is, least first. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Says what happened, as a fixed sentence plus fields, so that lines can be found by their sentence. */
export interface Log {
  debug(sentence: string, fields?: LogFields): void;
  info(sentence: string, fields?: LogFields): void;
  warn(sentence: string, fields?: LogFields): void;
  error(sentence: string, fields?: LogFields): void;
  /** A log that adds these fields to every line. */
  with(fields: LogFields): Log;
}

/** Longest text of one field, in UTF-16 units; what is over is cut off. */
const maxText = 1000;
const maxStack = 8000;
const maxCauses = 5;

/** The fields as they are written: texts bounded, absent ones left out, errors described, addresses hidden if asked. */
export function writableFields(fields: LogFields, hidesAddresses = false): Record<string, unknown> {
  const written: Record<string, unknown> = {};
  for (const [name, given] of Object.entries(fields)) {
    if (given === undefined) continue;
    const value = name === "error" ? describeError(given) : given;
    const shown = hidesAddresses ? redactField(name, value) : value;
    written[name] = typeof shown === "string" ? bounded(shown, maxText) : shown;
  }
  return written;
}

const alreadyDescribed = new WeakSet<Error>();

/** An error as fields: name, message, code, causes; the stack only the first time this error is described. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { message: bounded(String(error), maxText) };
  const described: Record<string, unknown> = { name: error.name, message: bounded(error.message, maxText) };
  if ("code" in error && (typeof error.code === "string" || typeof error.code === "number")) {
    described["code"] = error.code;
  }
  if (error.stack !== undefined && !alreadyDescribed.has(error)) {
    described["stack"] = bounded(error.stack, maxStack);
  }
  alreadyDescribed.add(error);
  if (depth >= maxCauses) return described;
  if (error.cause !== undefined) described["cause"] = describeError(error.cause, depth + 1);
  if (error instanceof AggregateError) {
    described["errors"] = error.errors.slice(0, maxCauses).map((one) => describeError(one, depth + 1));
  }
  return described;
}

function bounded(text: string, max: number): string {
  return text.length <= max ? text : `${text.slice(0, max)}…`;
}
