import type { HttpAnswer, HttpResult } from "./http.ts";
import { outcomeOfFailure, outcomeOfStatus, refused, waiting, withoutAddresses } from "./http_outcome.ts";
import type { Hearing, Secrets } from "./http_outcome.ts";
import type { RecipientOutcome } from "./outcome.ts";

/** How Mailgun took a message: accepted only with status 200 and an id (esp.md 3). */
export function outcomeOfMailgun(result: HttpResult, now: Date, secrets: Secrets): RecipientOutcome {
  if (result.kind !== "answered") return outcomeOfFailure(result, secrets);
  const words = mailgunWords(result);
  const hearing: Hearing = { now, secrets, ...(words === undefined ? {} : { words }) };
  switch (result.status) {
    case 200:
      return outcomeOfSuccess(result, hearing);
    case 400:
      if (isUnknownToSandbox(words ?? result.text)) return waiting("sender", result, hearing);
      return isAccountFault(words ?? result.text)
        ? waiting("configuration", result, hearing)
        : refused(result, hearing);
    case 403:
      return outcomeOfForbidden(result, hearing);
    case 413:
      return refused(result, hearing, "message_too_large");
    case 429:
      return waiting("throttled", result, hearing, waitIn(words ?? result.text, result, now));
    default:
      return outcomeOfStatus(result, hearing);
  }
}

/** Mailgun's name for a message it took, without angle brackets, as its events have it. */
export function mailgunId(result: HttpResult): string | undefined {
  if (result.kind !== "answered" || result.status !== 200) return undefined;
  const id = field(result.json, "id");
  return id === undefined ? undefined : /^<?([^<>\s]{1,998})>?$/.exec(id.trim())?.[1];
}

/** What Mailgun says in words, where it says so in the documented place. */
export function mailgunWords(answer: HttpAnswer): string | undefined {
  return field(answer.json, "message") ?? field(answer.json, "Error");
}

/** Whether one of the recipients is what Mailgun does not like, so that the others could be sent to. */
export function isRecipientFault(result: HttpResult): boolean {
  if (result.kind !== "answered") return false;
  const words = mailgunWords(result) ?? "";
  if (result.status === 403) return isUnknownToSandbox(words);
  if (result.status !== 400) return false;
  return isUnknownToSandbox(words) ||
    !isAccountFault(words) && /\bto\b.{0,20}(parameter|address|field)|recipient/i.test(words);
}

function outcomeOfSuccess(answer: HttpAnswer, hearing: Hearing): RecipientOutcome {
  if (mailgunId(answer) !== undefined) return { kind: "accepted" };
  // A wrong path is answered by the greeting of the API: nobody has read the message.
  return /magnificent api/i.test(answer.text)
    ? waiting("configuration", answer, hearing)
    : outcomeOfStatus(answer, hearing);
}

function outcomeOfForbidden(answer: HttpAnswer, hearing: Hearing): RecipientOutcome {
  const words = hearing.words ?? answer.text;
  if (isUnknownToSandbox(words)) return waiting("sender", answer, hearing);
  if (/large batches|limit|too many/i.test(words)) return waiting("throttled", answer, hearing);
  return waiting(
    /\bIPs?\b|domain|not allowed/.test(words) ? "configuration" : "credentials",
    answer,
    hearing,
  );
}

/** A test domain sends to those alone who are on its list: the others wait until they are, or the account is paid for. */
function isUnknownToSandbox(words: string): boolean {
  return /authori[sz]ed recipients?\b/i.test(withoutAddresses(words));
}

/** The account or its domain may not send at all: other mail fares no better. */
function isAccountFault(words: string): boolean {
  return /not allowed to send|not (been )?(activated|verified)|unverified|disabled|sandbox|free accounts?|suspended/i
    .test(withoutAddresses(words));
}

/** The wait that the text names, as seconds or as a time; what the header names goes first. */
function waitIn(words: string, answer: HttpAnswer, now: Date): number | undefined {
  if (answer.headers.has("retry-after")) return undefined;
  const amount = /\bafter (\d{1,6}) ?(second|minute|hour)s?/i.exec(words);
  if (amount !== null) {
    const unitMs = { second: 1000, minute: 60_000, hour: 3_600_000 }[(amount[2] ?? "").toLowerCase()] ?? 1000;
    return Number(amount[1]) * unitMs;
  }
  const until = /\bafter ([A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d (?:UTC|GMT|[+-]\d{4}))/
    .exec(words);
  if (until?.[1] === undefined) return undefined;
  const at = Date.parse(until[1]);
  const sent = Date.parse(answer.headers.get("date") ?? "");
  const left = at - (Number.isNaN(sent) ? now.getTime() : sent);
  return left > 0 ? left : undefined;
}

function field(json: unknown, name: string): string | undefined {
  if (typeof json !== "object" || json === null || !Object.hasOwn(json, name)) return undefined;
  const value = (json as Readonly<Record<string, unknown>>)[name];
  return typeof value === "string" ? value : undefined;
}
