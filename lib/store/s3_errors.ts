import { Refusal } from "../refusal.ts";

/** What an answer of S3 says that is no success. */
export interface S3Fault {
  /** 0 when there was no answer. */
  readonly status: number;
  /** S3's own word, e.g. `SlowDown`; for answers without one, such as to HEAD, `HTTP 404`. */
  readonly code: string;
  readonly requestId?: string;
  /** Where the bucket is, when that is what was wrong. */
  readonly region?: string;
  /** A host that the answer names instead of the one called. */
  readonly host?: string;
  /** The service's time, as in a `Date` field. */
  readonly date?: string;
}

/** S3 did not do what it was asked for; the message names what, and never holds a credential. */
export class S3Error extends Error {
  override readonly name = "S3Error";
  constructor(what: string, readonly fault: S3Fault, options?: ErrorOptions) {
    const { code, requestId } = fault;
    super(`Cannot ${what} in S3: ${code}${requestId ? ` (request ${requestId})` : ""}`, options);
  }
}

const retryableStatus = new Set([0, 408, 429, 500, 502, 503, 504]);
const retryableCode = new Set([
  "BadDigest",
  "ConditionalRequestConflict",
  "IncompleteBody",
  "InternalError",
  "OperationAborted",
  "RequestTimeout",
  "ServiceUnavailable",
  "SlowDown",
  "SlowDownRead",
  "SlowDownWrite",
  "XAmzContentSHA256Mismatch",
  "XMinioServerNotInitialized",
]);

/** Whether the same request may succeed in a moment. */
export function isRetryable({ status, code }: S3Fault): boolean {
  return retryableStatus.has(status) || retryableCode.has(code);
}

/** Whether other credentials may be taken: these are old or were never known. */
export function blamesCredentials({ code }: S3Fault): boolean {
  return code === "ExpiredToken" || code === "InvalidToken" || code === "TokenRefreshRequired" ||
    code === "InvalidAccessKeyId";
}

/** Whether there is no such object; an answer to HEAD does not tell it from a bucket that is missing. */
export function isAbsent(error: unknown): boolean {
  return error instanceof S3Error && (error.fault.code === "NoSuchKey" || error.fault.code === "HTTP 404");
}

/** Whether an object was there already. */
export function isTaken(error: unknown): boolean {
  return error instanceof S3Error &&
    (error.fault.status === 412 || error.fault.code === "PreconditionFailed");
}

/** Whether an error has one of S3's codes. */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof S3Error && codes.includes(error.fault.code);
}

/** The same error, or `Refusal("body_store_full")` for one that says that there is no room. */
export function fullOr(error: unknown): unknown {
  const full = hasCode(error, "XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded") ||
    (error instanceof S3Error && error.fault.status === 507);
  if (!full) return error;
  return new Refusal("body_store_full", "Cannot store a body: no room is left", { cause: error });
}

/** What an answer's status, headers and text say is wrong. */
export function faultOf(status: number, headers: Headers, text: string): S3Fault {
  const told = /<Error[\s>]/.test(text) ? text : "";
  const region = headers.get("x-amz-bucket-region") ?? xmlText(told, "Region");
  const host = hostOf(headers.get("location")) ?? xmlText(told, "Endpoint");
  const requestId = headers.get("x-amz-request-id") ?? xmlText(told, "RequestId");
  const date = xmlText(told, "ServerTime") ?? headers.get("date") ?? undefined;
  return {
    status,
    code: (xmlText(told, "Code") ?? `HTTP ${status}`).slice(0, 100),
    ...requestId !== undefined && requestId !== null && { requestId: requestId.slice(0, 100) },
    ...region !== undefined && region !== null && { region },
    ...host !== undefined && { host },
    ...date !== undefined && { date },
  };
}

function hostOf(location: string | null): string | undefined {
  return location !== null && URL.canParse(location) ? new URL(location).hostname : undefined;
}

/** The text of the first element of a name; undefined when there is none. */
export function xmlText(xml: string, name: string): string | undefined {
  return xmlTexts(xml, name).next().value ?? undefined;
}

/** The inner text of each element of a name, in order; for answers in which such elements do not nest. */
export function* xmlTexts(xml: string, name: string): Generator<string, undefined> {
  const pattern = new RegExp(`<${name}(?:\\s[^>]*)?>([^]*?)</${name}>`, "g");
  for (const [, inner] of xml.matchAll(pattern)) yield unescaped(inner ?? "");
  return undefined;
}

const entities: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

function unescaped(text: string): string {
  if (text.includes("<")) return text; // elements within, which are looked through in turn
  return text.replace(/&(?:#(\d{1,7})|#x([0-9a-f]{1,6})|([a-z]{2,4}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return entities[name.toLowerCase()] ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
