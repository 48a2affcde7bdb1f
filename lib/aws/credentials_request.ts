import type { AwsCredentials } from "./aws_credentials.ts";
import { CredentialsFailure, type CredentialWorld } from "./credentials.ts";

/** One request to whoever hands out credentials. */
export interface CredentialRequest {
  /** Who is asked, for people. */
  readonly whom: string;
  readonly url: URL;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutMs: number;
}

/** What was answered. */
export interface CredentialAnswer {
  readonly status: number;
  readonly text: string;
  /** The `Date` field. */
  readonly date?: string;
}

const tries = 2;
const longestAnswer = 64 * 1024;

/**
 * Asks, and once more when nobody answered in time or the service was in trouble (5xx). Follows no redirect. Throws
 * `credentials_unavailable` when there is no answer of less than 64 KiB.
 */
export async function askForCredentials(
  { fetch }: Pick<CredentialWorld, "fetch">,
  request: CredentialRequest,
): Promise<CredentialAnswer> {
  return await ask(fetch, request);
}

/**
 * The same of a service of the machine itself, which has no body to read: past every proxy, but for `https:`, whose
 * keys no proxy can read.
 */
export async function askNearby(
  { fetch, fetchDirect }: Pick<CredentialWorld, "fetch" | "fetchDirect">,
  request: Omit<CredentialRequest, "body">,
): Promise<CredentialAnswer> {
  return await ask(request.url.protocol === "http:" ? fetchDirect : fetch, request);
}

async function ask(call: Call, request: CredentialRequest): Promise<CredentialAnswer> {
  for (let attempt = 1;; attempt++) {
    try {
      const answer = await askOnce(call, request);
      if (answer.status < 500 || attempt === tries) return answer;
    } catch (error) {
      if (attempt < tries) continue;
      const why = error instanceof Error ? error.message : String(error);
      throw new CredentialsFailure(
        "credentials_unavailable",
        `Cannot get credentials: no answer from ${request.whom} at ${request.url.host}: ${why}`,
        { cause: error },
      );
    }
  }
}

interface CallInit {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly redirect: "manual";
  readonly signal: AbortSignal;
  readonly body?: Uint8Array<ArrayBuffer>;
}

type Call = (url: URL, init: CallInit) => Promise<Response>;

async function askOnce(call: Call, request: CredentialRequest): Promise<CredentialAnswer> {
  const { url, method = "GET", headers = {}, body, timeoutMs } = request;
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(new Error(`it took more than ${timeoutMs} ms`)), timeoutMs);
  try {
    const response = await call(url, {
      method,
      headers,
      redirect: "manual",
      signal: late.signal,
      ...(body === undefined ? {} : { body: new TextEncoder().encode(body) }),
    });
    const date = response.headers.get("date");
    const text = await readBounded(response);
    return { status: response.status, text, ...(date === null ? {} : { date }) };
  } finally {
    clearTimeout(timer);
  }
}

async function readBounded(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > longestAnswer) throw new Error(`the answer is longer than ${longestAnswer} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The credentials in a JSON document as containers and instances are given them; throws `CredentialsFailure`. */
export function parseCredentials(text: string, whom: string): AwsCredentials {
  const document = readObject(text);
  const { Code: code, Message: message } = document ?? {};
  if (document === undefined || (typeof code === "string" && code !== "Success")) {
    const said = document === undefined
      ? "no JSON object"
      : `${code}: ${String(message ?? "").slice(0, 200)}`;
    throw new CredentialsFailure(
      document === undefined ? "credentials_unavailable" : "credentials_refused",
      `Cannot get credentials: the answer of ${whom} is ${said}`,
    );
  }
  return credentialsFrom({
    accessKeyId: document["AccessKeyId"],
    secretAccessKey: document["SecretAccessKey"],
    sessionToken: document["Token"],
    expiration: document["Expiration"],
  }, whom);
}

/** The same of single fields; an empty token or expiry is none. Throws `credentials_unavailable`. */
export function credentialsFrom(
  given: Readonly<Record<"accessKeyId" | "secretAccessKey" | "sessionToken" | "expiration", unknown>>,
  whom: string,
): AwsCredentials {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = given;
  const endsAtMs = typeof expiration === "string" && expiration !== "" ? Date.parse(expiration) : undefined;
  if (!isText(accessKeyId) || !isText(secretAccessKey) || Number.isNaN(endsAtMs)) {
    throw new CredentialsFailure(
      "credentials_unavailable",
      `Cannot get credentials: the answer of ${whom} holds no keys with a time that can be read`,
    );
  }
  return {
    accessKeyId,
    secretAccessKey,
    ...(isText(sessionToken) ? { sessionToken } : {}),
    ...(endsAtMs === undefined ? {} : { expiresAt: new Date(endsAtMs) }),
  };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && /^[\x21-\x7e]+$/.test(value);
}

function readObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value as Record<string, unknown> : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
