import type { CredentialSource } from "../aws/credentials.ts";
import { ServiceClock } from "../aws/service_clock.ts";
import { hashOf, signRequest } from "../aws/sign.ts";
import type { LogEvent } from "./cloudwatch_batch.ts";

/** Where lines go, and with whose identity. */
export interface CloudWatchPlace {
  readonly endpoint: URL;
  readonly region: string;
  readonly group: string;
  readonly stream: string;
  readonly credentials: CredentialSource;
  readonly fetch: typeof fetch;
  readonly now: () => Date;
}

/** How a request ended: `rejected` lines were refused for good, `later` may work when it is tried again. */
export type PutResult =
  | { readonly kind: "taken"; readonly rejected: number }
  | { readonly kind: "refused"; readonly reason: string }
  | { readonly kind: "later"; readonly reason: string };

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: Readonly<Record<string, unknown>>;
}

const limitMs = 10_000;
const answerLimit = 64 * 1024;
const credentialsGone = /^(ExpiredToken\w*|UnrecognizedClientException|InvalidClientTokenId)$/;
const clockOff = /^(InvalidSignatureException|RequestExpired|RequestTimeTooSkewed)$/;

/** The actions of CloudWatch Logs (API version 2014-03-28) that sending lines takes. Nothing of it throws. */
export class CloudWatchClient {
  readonly #place: CloudWatchPlace;
  readonly #clock: ServiceClock;

  constructor(place: CloudWatchPlace) {
    this.#place = place;
    this.#clock = new ServiceClock(place.now);
  }

  /** Sends lines once, and once more where credentials, clock or the stream itself had to be renewed for it. */
  async put(logEvents: readonly LogEvent[], signal: AbortSignal): Promise<PutResult> {
    const put = () => this.#ask("PutLogEvents", { ...this.#names, logEvents }, signal);
    try {
      const first = await put();
      if (first.status === 200 || !await this.#repair(first, signal)) {
        return resultOf(first, logEvents.length);
      }
      return resultOf(await put(), logEvents.length);
    } catch (error) {
      return { kind: "later", reason: error instanceof Error ? error.message : String(error) };
    }
  }

  get #names() {
    const { group, stream } = this.#place;
    return { logGroupName: group, logStreamName: stream };
  }

  /** Whether something was done about what kept the lines from being taken. */
  async #repair({ type }: Answer, signal: AbortSignal): Promise<boolean> {
    if (credentialsGone.test(type) || clockOff.test(type)) return true; // `#ask` has seen to it
    if (type !== "ResourceNotFoundException") return false;
    const made = await this.#ask("CreateLogStream", this.#names, signal);
    if (isThere(made)) return true;
    if (made.type !== "ResourceNotFoundException") return false;
    const group = await this.#ask("CreateLogGroup", { logGroupName: this.#place.group }, signal);
    return isThere(group) && isThere(await this.#ask("CreateLogStream", this.#names, signal));
  }

  async #ask(
    action: string,
    content: Readonly<Record<string, unknown>>,
    signal: AbortSignal,
  ): Promise<Answer> {
    const { endpoint, region, credentials, fetch } = this.#place;
    const body = JSON.stringify(content);
    const used = await credentials.resolve();
    const headers = await signRequest({
      method: "POST",
      url: endpoint,
      headers: { "content-type": "application/x-amz-json-1.1", "x-amz-target": `Logs_20140328.${action}` },
      payloadHash: hashOf(body),
    }, { service: "logs", region, credentials: used, now: this.#clock.now() });
    const response = await fetch(endpoint, {
      method: "POST",
      headers,
      body,
      redirect: "manual",
      signal: AbortSignal.any([signal, AbortSignal.timeout(limitMs)]),
    });
    const parsed = parse(await boundedText(response));
    const type = typeOf(response.headers, parsed);
    if (credentialsGone.test(type)) credentials.reject(used);
    if (clockOff.test(type)) this.#clock.correct(response.headers.get("date"));
    return { status: response.status, type, body: parsed };
  }
}

function isThere({ status, type }: Answer): boolean {
  return status === 200 || type === "ResourceAlreadyExistsException";
}

function resultOf({ status, type, body }: Answer, count: number): PutResult {
  if (status === 200) return { kind: "taken", rejected: rejectedOf(body["rejectedLogEventsInfo"], count) };
  const message = body["message"] ?? body["Message"];
  const reason = `${status} ${type}: ${typeof message === "string" ? message.slice(0, 300) : "no message"}`;
  const isForGood = status === 400 &&
    /^(InvalidParameterException|SerializationException|ValidationException)$/.test(type);
  return isForGood ? { kind: "refused", reason } : { kind: "later", reason };
}

/** Too old and expired ones are the first of a batch, too new ones its last. */
function rejectedOf(info: unknown, count: number): number {
  if (typeof info !== "object" || info === null) return 0;
  const indexes = info as Readonly<Record<string, unknown>>;
  const first = Math.max(
    0,
    ...["tooOldLogEventEndIndex", "expiredLogEventEndIndex"].map((name) => {
      const index = indexes[name];
      return typeof index === "number" ? index : 0;
    }),
  );
  const tooNew = indexes["tooNewLogEventStartIndex"];
  const last = typeof tooNew === "number" ? count - tooNew : 0;
  return Math.min(count, first + last);
}

function typeOf(headers: Headers, body: Readonly<Record<string, unknown>>): string {
  const named = headers.get("x-amzn-errortype") ?? body["__type"];
  return typeof named === "string" ? named.replace(/^.*#/, "").replace(/:.*$/, "") : "";
}

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const parsed: unknown = JSON.parse(text === "" ? "{}" : text);
    return typeof parsed === "object" && parsed !== null ? parsed as Record<string, unknown> : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

async function boundedText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > answerLimit) break;
  }
  return text;
}
