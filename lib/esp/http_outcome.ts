import type { HttpAnswer, HttpFailure } from "./http.ts";
import type { EspAnswer, Fault, RecipientOutcome, WaitCause } from "./outcome.ts";
import { storable } from "../storable.ts";

/** Longest text of a service that is kept, in characters. */
export const excerptLimit = 500;

const longestWaitMs = 6 * 3600 * 1000;

/** What no answer means, the same for every recipient: `not_sent` is tried again, `no_answer` is unknown. */
export function outcomeOfFailure(
  { kind, code, detail }: HttpFailure,
  secrets: Secrets = [],
): RecipientOutcome {
  const text = excerptOf(detail, secrets);
  if (kind === "no_answer") return { kind: "unknown", fault: { blame: "provider", code, detail: text } };
  // Nobody beyond us is to blame: no breaker trips, no other provider is tried.
  if (code === "aborted") {
    return { kind: "wait", cause: "unavailable", fault: { blame: "message", code, detail: text } };
  }
  if (code === "request_invalid") {
    return { kind: "wait", cause: "configuration", fault: { blame: "provider", code, detail: text } };
  }
  return { kind: "retry", fault: { blame: "provider", code, detail: text } };
}

/** Texts that must never be shown. */
export type Secrets = readonly string[];

/** What an outcome needs to know of its call. */
export interface Hearing {
  /** When the answer came; waits that the service names as a time are reckoned from its Date field where it has one. */
  readonly now: Date;
  readonly secrets: Secrets;
  /** The service's own words, where they are found in the body; the whole body otherwise. */
  readonly words?: string;
}

/**
 * What a status means with every service. To be asked last: a service's own table comes first, for its success, for
 * what is the message's fault and for what it says under another status. A 2xx that comes here is not the documented
 * success, so nobody knows what became of the mail; a 4xx that comes here is refused as the message's fault.
 */
export function outcomeOfStatus(answer: HttpAnswer, hearing: Hearing): RecipientOutcome {
  const { status } = answer;
  if (status < 300) {
    return { kind: "unknown", fault: faultOf(answer, hearing, "provider", "answer_unexpected") };
  }
  if (status < 400) return waiting("configuration", answer, hearing);
  if (status === 429) return waiting("throttled", answer, hearing);
  if (status === 401 || status === 403) return waiting("credentials", answer, hearing);
  if ([402, 404, 405, 407, 421, 451].includes(status)) return waiting("configuration", answer, hearing);
  if (status === 408 || status === 409 || status === 423 || status === 425) return retried(answer, hearing);
  if (status >= 500) {
    const isBusy = status === 503 && namedWaitMs(answer.headers, hearing.now) !== undefined;
    return isBusy ? waiting("throttled", answer, hearing) : retried(answer, hearing);
  }
  return refused(answer, hearing);
}

/** Spends no attempt; the wait that the headers name is taken over unless another is given, in milliseconds. */
export function waiting(
  cause: WaitCause,
  answer: HttpAnswer,
  hearing: Hearing,
  afterMs: number | undefined = namedWaitMs(answer.headers, hearing.now),
): RecipientOutcome {
  const fault = faultOf(answer, hearing, "provider");
  return { kind: "wait", cause, fault, ...(afterMs === undefined ? {} : { afterMs: bounded(afterMs) }) };
}

/** Spends an attempt, and waits as long as the headers name. */
export function retried(answer: HttpAnswer, hearing: Hearing): RecipientOutcome {
  const afterMs = namedWaitMs(answer.headers, hearing.now);
  const fault = faultOf(answer, hearing, "provider");
  return { kind: "retry", fault, ...(afterMs === undefined ? {} : { afterMs }) };
}

/** Final: this message will never be taken for these recipients. */
export function refused(answer: HttpAnswer, hearing: Hearing, code?: string): RecipientOutcome {
  return { kind: "refused", fault: faultOf(answer, hearing, "message", code) };
}

/** What the service said, as a fault; the code is `http_<status>` unless a better one is known. */
export function faultOf(
  answer: HttpAnswer,
  { secrets, words }: Hearing,
  blame: Fault["blame"],
  code = `http_${answer.status}`,
): Fault {
  const text = excerptOf(words ?? answer.text, secrets);
  return { blame, code, detail: text === "" ? `Status ${answer.status} without a text` : text };
}

/** What the service said, for the delivery log; `espCode` is its own name for the error. */
export function answerOf(answer: HttpAnswer, secrets: Secrets, espCode?: string): EspAnswer {
  const requestId = requestIdOf(answer.headers);
  return {
    code: answer.status,
    excerpt: excerptOf(answer.text, secrets),
    ...(espCode === undefined ? {} : { espCode: storable(excerptOf(espCode, secrets), 100) }),
    ...(requestId === undefined ? {} : { requestId: excerptOf(requestId, secrets) }),
  };
}

const requestIdFields = [
  "x-request-id",
  "request-id",
  "x-amzn-requestid",
  "x-amz-request-id",
  "x-message-id",
];

/** The name the service gave this request; at most 200 characters. */
export function requestIdOf(headers: Headers): string | undefined {
  for (const name of requestIdFields) {
    const value = headers.get(name)?.trim();
    if (value) return storable(value, 200);
  }
  return undefined;
}

/** One line of at most 500 characters without control characters; secrets, also encoded, are masked. */
export function excerptOf(text: string, secrets: Secrets): string {
  let shown = text;
  for (const secret of secrets.flatMap(spellings)) shown = shown.replaceAll(secret, "[secret]");
  const line = shown.slice(0, 8 * excerptLimit).replace(/[\p{Cc}\p{Zl}\p{Zp}\s]+/gu, " ").trim();
  if (line.length <= excerptLimit) return storable(line, excerptLimit);
  return `${storable(line, excerptLimit - 1).trimEnd()}…`;
}

/** What a service says without the addresses it repeats, so that nobody's name is read as a word about the account. */
export function withoutAddresses(words: string): string {
  return words.replace(/[^\s@]{0,64}@[^\s@]{0,255}/g, "");
}

/** The ways a secret may come back in a text, longest first. */
function spellings(secret: string): readonly string[] {
  if (secret === "") return [];
  const bytes = new TextEncoder().encode(secret);
  const quoted = JSON.stringify(secret).slice(1, -1);
  const all = [bytes.toBase64(), encodeURIComponent(secret.toWellFormed()), quoted, secret];
  return [...new Set(all)].sort((a, b) => b.length - a.length);
}

/**
 * How long the service asks to be left alone, in milliseconds, at most six hours: from Retry-After (seconds or a date),
 * its relatives in milliseconds, and X-RateLimit-Reset (seconds from now or since 1970). Undefined when it names no
 * time that is still to come.
 */
export function namedWaitMs(headers: Headers, now: Date): number | undefined {
  const sent = Date.parse(headers.get("date") ?? "");
  const clock = Number.isNaN(sent) ? now.getTime() : sent;
  const ms = numberIn(headers, "retry-after-ms") ?? numberIn(headers, "x-ms-retry-after-ms");
  const named = ms ?? retryAfterMs(headers.get("retry-after"), clock) ?? resetMs(headers, clock);
  return named === undefined || named <= 0 ? undefined : bounded(named);
}

function retryAfterMs(value: string | null, clock: number): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d{1,10}(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const date = /[a-z]/i.test(text) ? Date.parse(text) : Number.NaN;
  return Number.isNaN(date) ? undefined : date - clock;
}

function resetMs(headers: Headers, clock: number): number | undefined {
  const value = numberIn(headers, "x-ratelimit-reset") ?? numberIn(headers, "ratelimit-reset");
  if (value === undefined) return undefined;
  // Nobody asks for thirty years, so a number that large is a time: in seconds, or in milliseconds.
  if (value < 1e9) return value * 1000;
  return (value < 1e11 ? value * 1000 : value) - clock;
}

function numberIn(headers: Headers, name: string): number | undefined {
  const text = headers.get(name)?.trim() ?? "";
  return /^\d{1,15}(\.\d+)?$/.test(text) ? Number(text) : undefined;
}

function bounded(ms: number): number {
  return Math.min(Math.max(0, Math.round(ms)), longestWaitMs);
}
