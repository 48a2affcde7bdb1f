import type { HttpAnswer, HttpResult } from "./http.ts";
import {
  namedWaitMs,
  outcomeOfFailure,
  outcomeOfStatus,
  refused,
  retried,
  waiting,
  withoutAddresses,
} from "./http_outcome.ts";
import type { Hearing } from "./http_outcome.ts";
import type { RecipientOutcome } from "./outcome.ts";

const dailyQuotaWaitMs = 10 * 60_000;

const throttles = [
  "TooManyRequestsException",
  "ThrottlingException",
  "Throttling",
  "RequestLimitExceeded",
  "RequestThrottled",
  "RequestThrottledException",
  "BandwidthLimitExceeded",
  "LimitExceededException",
  "ProvisionedThroughputExceededException",
  "SlowDown",
];
const accountFaults = [
  "AccountSuspendedException",
  "SendingPausedException",
  "AccountSendingPausedException",
  "ConfigurationSetSendingPausedException",
  "NotFoundException",
  "ConfigurationSetDoesNotExistException",
  "OptInRequired",
];
const expiries = ["ExpiredToken", "ExpiredTokenException", "RequestExpired"];
const credentialFaults = [
  ...expiries,
  "AccessDenied",
  "AccessDeniedException",
  "IncompleteSignature",
  "IncompleteSignatureException",
  "InvalidAccessKeyId",
  "InvalidClientTokenId",
  "InvalidSignatureException",
  "MissingAuthenticationToken",
  "MissingAuthenticationTokenException",
  "NotAuthorized",
  "SignatureDoesNotMatch",
  "UnrecognizedClientException",
];
const troubles = [
  "ConcurrentModificationException",
  "ConflictException",
  "InternalFailure",
  "InternalServiceError",
  "InternalServiceErrorException",
  "InternalServerException",
  "RequestTimeout",
  "RequestTimeoutException",
  "ServiceUnavailable",
  "ServiceUnavailableException",
];

/** How SES took a message: accepted only with status 200 and a MessageId (esp.md 2). */
export function outcomeOfSes(result: HttpResult, hearing: Hearing): RecipientOutcome {
  if (result.kind !== "answered") return outcomeOfFailure(result, hearing.secrets);
  if (sesMessageId(result) !== undefined) return { kind: "accepted" };
  const words = sesWords(result);
  return outcomeOfError(result, { ...hearing, ...(words === undefined ? {} : { words }) });
}

function outcomeOfError(answer: HttpAnswer, hearing: Hearing): RecipientOutcome {
  const type = sesErrorType(answer) ?? "";
  const words = hearing.words ?? "";
  if (answer.status < 400) return outcomeOfStatus(answer, hearing);
  if (throttles.includes(type)) return throttled(answer, hearing, words);
  if (accountFaults.includes(type)) return waiting("configuration", answer, hearing);
  if (type === "MailFromDomainNotVerifiedException") return waiting("sender", answer, hearing);
  if (isIdentityDenied(type, words)) return waiting("sender", answer, hearing);
  if (credentialFaults.includes(type)) return waiting("credentials", answer, hearing);
  if (troubles.includes(type)) return retried(answer, hearing);
  if (answer.status === 413) return refused(answer, hearing, "message_too_large");
  if (answer.status === 429) return throttled(answer, hearing, words);
  if (answer.status === 400) {
    if (isUnverified(words)) return waiting("sender", answer, hearing);
    if (isAccountFault(words)) return waiting("configuration", answer, hearing);
    // SES names every refusal: what comes without a name is not from SES, and says nothing of the message.
    return type === "" ? retried(answer, hearing) : refused(answer, hearing);
  }
  return outcomeOfStatus(answer, hearing);
}

function throttled(answer: HttpAnswer, hearing: Hearing, words: string): RecipientOutcome {
  const isDaily = /\bdaily\b|24.?hour/i.test(words);
  const afterMs = namedWaitMs(answer.headers, hearing.now) ?? (isDaily ? dailyQuotaWaitMs : undefined);
  return waiting("throttled", answer, hearing, afterMs);
}

/** The keys may not send by the identity of this message's sender; by others they may. */
function isIdentityDenied(type: string, words: string): boolean {
  return /^AccessDenied(Exception)?$/.test(type) && /\barn:aws[\w-]*:ses:[\w-]*:\d*:identity\//.test(words);
}

/** Said of this message's sender, or of a recipient while the account is in the sandbox. */
function isUnverified(words: string): boolean {
  return /not (been )?verified/i.test(withoutAddresses(words));
}

/** The account or its configuration is not in order: other mail fares no better. */
function isAccountFault(words: string): boolean {
  return /not authorized|configuration set\b.*(not exist|not found|disabled)|\bpaused\b|suspended/i
    .test(withoutAddresses(words));
}

/** SES's name for a message it took, as its events have it: without the domain that its Message-ID field ends with. */
export function sesMessageId(result: HttpResult): string | undefined {
  if (result.kind !== "answered" || result.status !== 200) return undefined;
  return /^<?([\w.+=-]{1,200})(@[\w.-]+>?)?$/.exec(field(result.json, "MessageId") ?? "")?.[1];
}

/** The name of an error, without namespace and address: from the header, else the body; undefined when there is none. */
export function sesErrorType(answer: HttpAnswer): string | undefined {
  const named = answer.headers.get("x-amzn-errortype") ?? field(answer.json, "__type") ??
    field(answer.json, "code");
  const type = named?.trim().split(":")[0]?.split("#").at(-1);
  return type !== undefined && /^\w{1,100}$/.test(type) ? type : undefined;
}

/** What SES says in words, where it says so in the documented place. */
export function sesWords(answer: HttpAnswer): string | undefined {
  return field(answer.json, "message") ?? field(answer.json, "Message");
}

/** Whether one of the addresses is what SES does not like, so that the others could be sent to. */
export function isRecipientFault(result: HttpResult): boolean {
  if (result.kind !== "answered" || result.status !== 400 || sesErrorType(result) !== "BadRequestException") {
    return false;
  }
  const words = sesWords(result) ?? "";
  return !isUnverified(words) && !isAccountFault(words) &&
    /\b(address(es)?|recipients?|domain|local (name|part)|destination)\b/i.test(words);
}

/** What may cure a refusal of a request's signature: other credentials, or a clock that is put right. */
export function remedyOf(result: HttpResult): "credentials" | "clock" | undefined {
  if (result.kind !== "answered" || result.status < 400 || result.status > 403) return undefined;
  const type = sesErrorType(result) ?? "";
  const isSkewed = /signature (expired|not yet current)|request (has )?expired|clock|skew/i.test(
    sesWords(result) ?? "",
  );
  if (isSkewed || type === "RequestExpired" || type === "RequestTimeTooSkewed") return "clock";
  const isStale = [...expiries, "UnrecognizedClientException", "InvalidClientTokenId"].includes(type);
  return isStale ? "credentials" : undefined;
}

function field(json: unknown, name: string): string | undefined {
  if (typeof json !== "object" || json === null || !Object.hasOwn(json, name)) return undefined;
  const value = (json as Readonly<Record<string, unknown>>)[name];
  return typeof value === "string" ? value : undefined;
}
