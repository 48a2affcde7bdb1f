import { correlationField } from "./correlation.ts";
import type { EspIo } from "./esp.ts";

/** One request to an email service. */
export interface HttpRequest {
  readonly method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /**
   * All of it, of known length. A request that must not be made twice needs a body of at least one byte: without one,
   * Deno repeats it by itself when a kept connection breaks.
   */
  readonly body?: Uint8Array | string;
  /** Nobody needs the bytes of `body` afterwards: their memory is freed as soon as they are handed over. */
  readonly givesBodyAway?: boolean;
  /** Its answer decides whether mail was sent, so it is waited for a little longer. */
  readonly sendsMail?: boolean;
}

/** The part of the outside world that a call needs. */
export type HttpIo = Pick<EspIo, "fetch" | "callTimeoutMs" | "answerTimeoutMs" | "after">;

/** How a request ended; nothing of it is ever thrown. */
export type HttpResult = HttpAnswer | HttpFailure;

/** A status came, of whatever kind; redirects are answers like any other and are not followed. */
export interface HttpAnswer {
  readonly kind: "answered";
  readonly status: number;
  readonly headers: Headers;
  /** At most 256 KiB of it. */
  readonly text: string;
  /** Whether `text` is the whole body: it was neither too long, nor too slow, nor broken off. */
  readonly isComplete: boolean;
  /** The body where it is complete and JSON, whatever its content type says. */
  readonly json?: unknown;
}

/** No status came. */
export interface HttpFailure {
  /**
   * `not_sent`: no connection was made, so the service knows nothing of it. `no_answer`: it may have been read or not.
   * Deno tells them apart: resolving, connecting (to a proxy too) and the TLS handshake fail with "client error
   * (Connect)". All else is in doubt, the time limit included, because nobody tells when a connection stands.
   */
  readonly kind: "not_sent" | "no_answer";
  readonly code:
    | "aborted"
    | "connection_failed"
    | "tls_failed"
    | "dns_failed"
    | "request_invalid"
    | "timeout"
    | "connection_lost"
    | "protocol_error";
  /** For people; may hold the host and its address, never the request's headers or body. */
  readonly detail: string;
}

const answerLimit = 256 * 1024;
/** Services and what stands before them give an answer of their own within a minute. */
const longestAnswerMs = 60_000;

/**
 * Makes one request by `io.fetch`, once. Status and headers must come within `callTimeoutMs`, with `sendsMail` up to a
 * minute of `answerTimeoutMs` later, and the body within `callTimeoutMs` more. Proxies of HTTPS_PROXY, HTTP_PROXY and
 * NO_PROXY are used, because Deno's fetch does.
 */
export async function callHttp(
  io: HttpIo,
  request: HttpRequest,
  signal: AbortSignal,
): Promise<HttpResult> {
  if (signal.aborted) return failure("not_sent", "aborted", "The call was ended before it began");
  using limit = new TimeLimit(signal, io.after);
  limit.set(
    io.callTimeoutMs + (request.sendsMail === true ? Math.min(io.answerTimeoutMs, longestAnswerMs) : 0),
  );
  let prepared: Request;
  try {
    prepared = prepare(request, limit.signal);
  } catch (error) {
    return failure("not_sent", "request_invalid", errorText(error));
  }
  let response: Response;
  try {
    response = await io.fetch(prepared);
  } catch (error) {
    return failureOf(error, limit);
  }
  limit.set(io.callTimeoutMs);
  return await readAnswer(response, limit);
}

function prepare(
  { method = "POST", url, headers, body, givesBodyAway = false }: HttpRequest,
  signal: AbortSignal,
): Request {
  const bytes = (typeof body === "string" ? new TextEncoder().encode(body) : body) as
    | Uint8Array<ArrayBuffer>
    | undefined;
  const request = new Request(url, {
    method,
    headers: { ...correlationField(), ...headers },
    redirect: "manual",
    signal,
    ...(bytes === undefined || bytes.length === 0 ? {} : { body: bytes }),
  });
  // Deno repeats a request by itself when a kept connection ends before the answer, even after the server has read it,
  // unless the body is a stream. Reading the property makes it one, and its length stays known.
  void request.body;
  if (givesBodyAway) bytes?.buffer.transfer(0);
  return request;
}

async function readAnswer(response: Response, limit: TimeLimit): Promise<HttpAnswer> {
  const { status, headers } = response;
  const { text, isComplete } = await readBounded(response, limit);
  const json = isComplete ? parsedJson(text) : undefined;
  return { kind: "answered", status, headers, text, isComplete, ...(json === undefined ? {} : { json }) };
}

async function readBounded(response: Response, limit: TimeLimit) {
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  try {
    for await (const chunk of response.body ?? []) {
      const rest = answerLimit - length;
      text += decoder.decode(chunk.subarray(0, rest), { stream: true });
      length += chunk.length;
      if (length > answerLimit) return { text, isComplete: false };
    }
    return { text: text + decoder.decode(), isComplete: true };
  } catch (error) {
    // The status is known and stands; what is missing of the body is for the reader to judge.
    if (!limit.signal.aborted && !(error instanceof TypeError)) throw error;
    return { text, isComplete: false };
  }
}

function parsedJson(text: string): unknown {
  if (!/^\s*[[{"]/.test(text)) return undefined;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function failureOf(error: unknown, limit: TimeLimit): HttpFailure {
  if (limit.signal.aborted) {
    return limit.isOver
      ? failure("no_answer", "timeout", "No answer in time")
      : failure("no_answer", "aborted", "The call was ended before its answer came");
  }
  const detail = errorText(error);
  // The permission to call this host is missing.
  if (error instanceof Deno.errors.NotCapable) return failure("not_sent", "connection_failed", detail);
  if (/client error \(Connect\)/.test(detail)) return failure("not_sent", connectCode(detail), detail);
  const isForeign = /client error \(SendRequest\)/.test(detail) &&
    !/connection (closed|reset|error)/i.test(detail);
  return failure("no_answer", isForeign ? "protocol_error" : "connection_lost", detail);
}

function connectCode(detail: string): HttpFailure["code"] {
  if (/dns error/.test(detail)) return "dns_failed";
  return /tcp connect error|proxy|tunnel|socks/i.test(detail) ? "connection_failed" : "tls_failed";
}

function failure(kind: HttpFailure["kind"], code: HttpFailure["code"], detail: string): HttpFailure {
  return { kind, code, detail };
}

/** The innermost message: Deno's outer one is always "fetch failed". */
function errorText(error: unknown): string {
  let text = String(error);
  for (let at = error; at instanceof Error; at = at.cause) text = at.message;
  return text;
}

/** A signal that fires when a time that can be set anew is over, or when another signal does. */
class TimeLimit implements Disposable {
  readonly #controller = new AbortController();
  readonly #outer: AbortSignal;
  readonly #end = () => this.#controller.abort(this.#outer.reason);
  readonly #after: NonNullable<HttpIo["after"]>;
  #callOff = () => {};
  isOver = false;

  constructor(outer: AbortSignal, after: HttpIo["after"] = afterTime) {
    this.#outer = outer;
    this.#after = after;
    if (outer.aborted) this.#end();
    else outer.addEventListener("abort", this.#end);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  set(ms: number): void {
    this.#callOff();
    this.#callOff = this.#after(ms, () => {
      this.isOver = true;
      this.#controller.abort(new DOMException("The time is over", "TimeoutError"));
    });
  }

  [Symbol.dispose](): void {
    this.#callOff();
    this.#outer.removeEventListener("abort", this.#end);
  }
}

function afterTime(ms: number, end: () => void): () => void {
  const timer = setTimeout(end, ms);
  return () => clearTimeout(timer);
}
