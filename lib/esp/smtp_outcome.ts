import type { SmtpFailure } from "../smtp/failure.ts";
import { replyClass, replyText } from "../smtp/reply.ts";
import type { Reply } from "../smtp/reply.ts";
import type { TransactionResult } from "../smtp/transaction.ts";
import type { EspAnswer, Fault, RecipientOutcome } from "./outcome.ts";
import { type Stage, waitCauseOf } from "./smtp_causes.ts";
import { storable } from "../storable.ts";

/** How a transaction ended for each recipient, in the order of its RCPT commands. */
export function outcomesOf(result: TransactionResult): readonly RecipientOutcome[] {
  if (result.mail !== undefined && replyClass(result.mail) !== 2) {
    const outcome = outcomeOfReply(result.mail, "mail");
    return result.recipients.map(() => outcome);
  }
  let others: RecipientOutcome | undefined;
  return result.recipients.map((reply) =>
    reply === undefined || replyClass(reply) === 2
      ? others ??= outcomeOfTaken(result)
      : outcomeOfReply(reply, "rcpt")
  );
}

/** What becomes of the recipients whose RCPT was taken or had no answer. */
function outcomeOfTaken(result: TransactionResult): RecipientOutcome {
  const { answer, data, failure } = result;
  if (answer !== undefined) {
    return replyClass(answer) === 2 ? { kind: "accepted" } : outcomeOfReply(answer, "answer");
  }
  if (data !== undefined) return outcomeOfReply(data, "data");
  if (failure === undefined) {
    throw new Error("A transaction without answer and failure holds a taken recipient");
  }
  if (!result.isDotWritten) return outcomeOfFailure(failure);
  return {
    kind: "unknown",
    fault: fault("provider", "answer_lost", `No answer to the message: ${failure.message}`),
  };
}

/** What a failure means before the last dot was written: nothing was sent. */
export function outcomeOfFailure(failure: SmtpFailure): RecipientOutcome {
  const { code, message, reply } = failure;
  switch (code) {
    case "aborted":
    case "body_unreadable":
      // Nobody beyond us is to blame: no breaker trips, no other provider is tried.
      return { kind: "wait", cause: "unavailable", fault: fault("message", code, message) };
    case "bare_line_ending":
    case "header_too_long":
    case "address_invalid":
      return { kind: "refused", fault: fault("message", code, message) };
    case "auth_refused":
      if (reply !== undefined && replyClass(reply) === 4) return notNow(reply, "auth");
      return { kind: "wait", cause: "credentials", fault: fault("provider", code, message) };
    case "tls_refused":
      if (reply !== undefined && replyClass(reply) === 4) return notNow(reply, "auth");
      return { kind: "wait", cause: "configuration", fault: fault("provider", code, message) };
    case "address_not_allowed":
    case "auth_unavailable":
    case "tls_unavailable":
    case "certificate_invalid":
      return { kind: "wait", cause: "configuration", fault: fault("provider", code, message) };
    case "connections_busy":
      return { kind: "wait", cause: "throttled", fault: fault("provider", code, message) };
    default:
      if (reply !== undefined && isThrottling(reply)) return notNow(reply, "mail");
      return { kind: "retry", fault: fault("provider", code, message) };
  }
}

/** What an answer other than 2yz means at its place in the conversation. */
export function outcomeOfReply(reply: Reply, stage: Stage): RecipientOutcome {
  switch (replyClass(reply)) {
    case 4:
      return notNow(reply, stage);
    case 5:
      return never(reply, stage);
    default:
      return { kind: "retry", fault: fault("provider", "protocol_error", replyText(reply)) };
  }
}

function notNow(reply: Reply, stage: Stage): RecipientOutcome {
  const afterMs = namedWait(reply);
  const wait = afterMs === undefined ? {} : { afterMs };
  const cause = waitCauseOf(reply, stage);
  if (cause !== undefined) return { kind: "wait", cause, fault: replyFault("provider", reply), ...wait };
  if (isThrottling(reply)) {
    return { kind: "wait", cause: "throttled", fault: replyFault("provider", reply), ...wait };
  }
  const isOwnTrouble = stage !== "rcpt" || reply.code === 421 || /^4\.3\./.test(reply.enhanced ?? "");
  return { kind: "retry", fault: replyFault(isOwnTrouble ? "provider" : "message", reply), ...wait };
}

function never(reply: Reply, stage: Stage): RecipientOutcome {
  const cause = waitCauseOf(reply, stage);
  if (cause !== undefined) return { kind: "wait", cause, fault: replyFault("provider", reply) };
  // A full mailbox is emptied some day, whatever class the server chose.
  if (reply.enhanced === "5.2.2") return { kind: "retry", fault: replyFault("message", reply) };
  return { kind: "refused", fault: replyFault("message", reply) };
}

/** Too much at a time: the mail is fine, later is fine (esp.md, TH). */
function isThrottling(reply: Reply): boolean {
  if (replyClass(reply) !== 4 || /^4\.2\./.test(reply.enhanced ?? "") || isTooManyRecipients(reply)) {
    return false;
  }
  return /\brate\b|rate.?limit|throttl|too many|(credits|quota|limit)s? (was |were |is |been )?(exceeded|reached)/i
    .test(reply.lines.join(" "));
}

/** Whether a recipient is only one too many for this transaction (RFC 5321 section 4.5.3.1.10). */
export function isTooManyRecipients(reply: Reply): boolean {
  const text = reply.lines.join(" ");
  // So many in an hour are too many for the account, however few one transaction has.
  if (/\b(hour|day|daily|minute)\b/i.test(text)) return false;
  return reply.enhanced === "4.5.3" ||
    (reply.code === 452 && /too many recipients|recipients? limit/i.test(text));
}

/** How long the server asks to wait, where its text says so; a day at most. */
function namedWait(reply: Reply): number | undefined {
  const found = /\b(?:in|after|for|wait)\s+(\d{1,5})\s*(s|m|h)(?:ec|econd|in|inute|our)?s?\b/i.exec(
    reply.lines.join(" "),
  );
  if (found === null) return undefined;
  const unitMs = { s: 1000, m: 60_000, h: 3_600_000 }[(found[2] ?? "s").toLowerCase()] ?? 1000;
  return Math.min(Number(found[1]) * unitMs, 24 * 3_600_000);
}

function replyFault(blame: Fault["blame"], reply: Reply): Fault {
  return fault(blame, `smtp_${reply.code}`, replyText(reply));
}

/** A fault whose detail is bounded. */
export function fault(blame: Fault["blame"], code: string, detail: string): Fault {
  return { blame, code, detail: storable(detail, 500) };
}

/** The most telling answer of a transaction, for the delivery log; none when it broke off with nothing refused. */
export function answerOf(result: TransactionResult): EspAnswer | undefined {
  const isRefused = (reply: Reply | undefined) => reply !== undefined && replyClass(reply) !== 2;
  const reply = result.answer ?? result.data ?? result.failure?.reply ??
    (isRefused(result.mail) ? result.mail : result.recipients.find(isRefused));
  if (reply === undefined) return undefined;
  const espCode = reply.enhanced === undefined ? {} : { espCode: reply.enhanced };
  return { code: reply.code, ...espCode, excerpt: replyText(reply) };
}

/** The next server's name for the message, where its last answer holds one; else the answer's text. */
export function providerMessageId(answer: Reply): string | undefined {
  const text = answer.lines.join(" ").replace(/\p{Cc}+/gu, " ").trim();
  const named = /\bqueued as:? <?([^\s>]+)/i.exec(text) ?? /^ok:? ([\w.@+-]{12,})$/i.exec(text);
  const id = named?.[1] ?? text;
  return id === "" ? undefined : storable(id, 255);
}
