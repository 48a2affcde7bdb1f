import { z } from "zod";
import type { HttpAnswer, HttpResult } from "./http.ts";
import { outcomeOfFailure, outcomeOfStatus, refused, retried, waiting } from "./http_outcome.ts";
import type { Hearing, Secrets } from "./http_outcome.ts";
import type { RecipientOutcome } from "./outcome.ts";

/** What Graph says in words when something is wrong. */
export interface GraphError {
  /** The most exact name it gives, e.g. `ErrorSendAsDenied`. */
  readonly code: string;
  readonly words: string;
}

type Meaning = "refused" | "throttled" | "credentials" | "configuration" | "sender" | "retry" | "too_large";

/** Names that mean something else than their status does (esp.md 4). */
const meanings: Readonly<Record<string, Meaning>> = {
  ErrorInvalidRecipients: "refused",
  ErrorMessageSizeExceeded: "too_large",
  RequestBodyRead: "refused",
  UnableToDeserializePostBody: "refused",
  ErrorAccessDenied: "credentials",
  AccessDenied: "credentials",
  "Authorization_RequestDenied": "credentials",
  InvalidAuthenticationToken: "credentials",
  ErrorSendAsDenied: "sender",
  ErrorMessageSubmissionBlocked: "configuration",
  ErrorInvalidUser: "configuration",
  ErrorNonExistentMailbox: "configuration",
  ErrorQuotaExceeded: "configuration",
  ResourceNotFound: "configuration",
  "Request_ResourceNotFound": "configuration",
  MailboxNotEnabledForRESTAPI: "configuration",
  MailboxNotSupportedForRESTAPI: "configuration",
  ErrorExceededMessageLimit: "throttled",
  ApplicationThrottled: "throttled",
  MailboxConcurrency: "throttled",
  TooManyRequests: "throttled",
  ErrorServerBusy: "throttled",
  // A draft that somebody deleted.
  ErrorItemNotFound: "retry",
  ErrorMailboxStoreUnavailable: "retry",
  ErrorInternalServerError: "retry",
};

/** A daily quota is not refilled within minutes. */
const quotaWaitMs = 3_600_000;

/** How Graph took a message: accepted with the one documented status alone. */
export function outcomeOfGraph(
  result: HttpResult,
  now: Date,
  secrets: Secrets,
  success: number,
): RecipientOutcome {
  if (result.kind !== "answered") return outcomeOfFailure(result, secrets);
  if (result.status === success) return { kind: "accepted" };
  const error = graphError(result);
  const words = error === undefined ? undefined : `${error.code}: ${error.words}`;
  const hearing: Hearing = { now, secrets, ...(words === undefined ? {} : { words }) };
  return outcomeOfCode(result, hearing, error?.code ?? "");
}

/** The same for a request that sends nothing by itself: not to know its end means to make it again. */
export function outcomeOfUnsent(outcome: RecipientOutcome): RecipientOutcome {
  if (outcome.kind !== "unknown") return outcome;
  const { fault } = outcome;
  return fault.code === "aborted"
    ? { kind: "wait", cause: "unavailable", fault: { ...fault, blame: "message" } }
    : { kind: "retry", fault };
}

function outcomeOfCode(answer: HttpAnswer, hearing: Hearing, code: string): RecipientOutcome {
  if (answer.status < 400) return outcomeOfStatus(answer, hearing);
  if (answer.status === 413) return refused(answer, hearing, "message_too_large");
  // The mailbox is full: nothing can be saved to Sent Items.
  if (answer.status === 507) return waiting("configuration", answer, hearing);
  const meaning = Object.hasOwn(meanings, code) ? meanings[code] : undefined;
  switch (meaning) {
    case undefined:
      return outcomeOfStatus(answer, hearing);
    case "refused":
      return refused(answer, hearing);
    case "too_large":
      return refused(answer, hearing, "message_too_large");
    case "retry":
      return retried(answer, hearing);
    case "throttled":
      return code === "ErrorExceededMessageLimit" && !answer.headers.has("retry-after")
        ? waiting("throttled", answer, hearing, quotaWaitMs)
        : waiting("throttled", answer, hearing);
    default:
      return waiting(meaning, answer, hearing);
  }
}

const inner: z.ZodType<{ readonly code?: string | undefined; readonly innererror?: unknown }> = z.object({
  code: z.string().max(200).optional(),
  innererror: z.unknown().optional(),
  innerError: z.unknown().optional(),
}).transform(({ code, innererror, innerError }) => ({ code, innererror: innererror ?? innerError }));
const outer = z.object({ error: z.object({ message: z.string().optional() }).and(inner) });

/** The error in an answer's body; undefined when there is none in the documented shape. */
export function graphError(answer: HttpAnswer): GraphError | undefined {
  const found = outer.safeParse(answer.json);
  if (!found.success) return undefined;
  const { message = "" } = found.data.error;
  let code = found.data.error.code ?? "";
  let next = found.data.error.innererror;
  // The innermost name that we know is the most exact one.
  for (let depth = 0; depth < 5 && next !== undefined; depth++) {
    const deeper = inner.safeParse(next);
    if (!deeper.success) break;
    if (deeper.data.code !== undefined && Object.hasOwn(meanings, deeper.data.code)) code = deeper.data.code;
    next = deeper.data.innererror;
  }
  return { code, words: message };
}

/** Nobody was sent to, for the sake of one address or several that Graph does not name. */
export function isRecipientFault(result: HttpResult): boolean {
  return result.kind === "answered" && result.status === 400 &&
    graphError(result)?.code === "ErrorInvalidRecipients";
}
