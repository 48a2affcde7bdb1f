import type { CredentialSource } from "../aws/credentials.ts";
import { ServiceClock } from "../aws/service_clock.ts";
import { hashOf, signRequest } from "../aws/sign.ts";
import { sleepFor } from "../retry.ts";
import { blamesCredentials, faultOf, isRetryable, S3Error, type S3Fault } from "./s3_errors.ts";
import { regionOfHost, type S3Place, s3Url } from "./s3_place.ts";

/** What requests need to know and may use. */
export interface S3ClientOptions {
  readonly place: S3Place;
  readonly credentials: CredentialSource;
  readonly fetch: typeof fetch;
  readonly now: () => Date;
  /** Longest wait for an answer, and for each piece of one that is streamed. */
  readonly timeoutMs: number;
  readonly sleep?: (ms: number, signal?: AbortSignal) => Promise<void>;
}

/** One request, repeated as it is when it failed for a reason that passes. */
export interface S3Request {
  /** What it is for, as in "Cannot read a body". */
  readonly what: string;
  readonly method: "GET" | "HEAD" | "PUT" | "POST" | "DELETE";
  /** With the prefix; absent for the bucket. */
  readonly key?: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  /** SHA-256 of the body in hex, when it is known already. */
  readonly bodyHash?: string;
}

/** A success whose body was read, unless it was asked for as a stream. */
export interface S3Answer {
  readonly headers: Headers;
  readonly text: string;
}

const delaysMs = [100, 300, 900, 2700] as const;
/** How long a service that could not be reached is asked only once: somebody waits for each answer. */
const outageMs = 10_000;
const mostText = 8 << 20;

/** Speaks to one bucket: signs, repeats what is worth it, follows it to its region, sets its clock by the service's. */
export class S3Client {
  readonly place: S3Place;
  readonly timeoutMs: number;
  readonly #options: S3ClientOptions;
  readonly #clock: ServiceClock;
  readonly #closed = new AbortController();
  /** Of the requests that are under way. */
  readonly #limits = new Set<TimeLimit>();
  #region: string;
  #outageUntil = -Infinity;

  constructor(options: S3ClientOptions) {
    this.place = options.place;
    this.timeoutMs = options.timeoutMs;
    this.#options = options;
    this.#clock = new ServiceClock(options.now);
    this.#region = options.place.region;
  }

  /** Breaks off what is under way; nothing is asked any more. */
  close(): void {
    this.#closed.abort();
    for (const limit of this.#limits) limit.end();
  }

  /** The answer as text of at most 8 MiB; an error inside a 200 counts as one. Throws `S3Error` or `CredentialsFailure`. */
  async ask(request: S3Request): Promise<S3Answer> {
    return await this.#repeat(request, async (response, cancel) => {
      const text = await readText(response, mostText);
      cancel.done();
      if (/^\s*(<\?xml[^>]*>\s*)?<Error[\s>]/.test(text)) {
        throw new S3Error(request.what, faultOf(response.status, response.headers, text));
      }
      return { headers: response.headers, text };
    });
  }

  /** The answer's headers and its body, which the caller reads to its end or cancels. */
  async open(request: S3Request): Promise<{ readonly headers: Headers; readonly body: OpenedBody }> {
    return await this.#repeat(request, (response, cancel) => {
      cancel.pause();
      const reader = response.body?.getReader();
      return Promise.resolve({ headers: response.headers, body: new OpenedBody(reader, cancel) });
    });
  }

  async #repeat<T>(
    request: S3Request,
    take: (response: Response, cancel: TimeLimit) => Promise<T>,
  ): Promise<T> {
    const { sleep = sleepFor } = this.#options;
    const corrections = new Corrections();
    for (let tries = 0;;) {
      try {
        const answer = await this.#once(request, take);
        this.#outageUntil = -Infinity;
        return answer;
      } catch (error) {
        if (!(error instanceof S3Error)) throw error;
        if (corrections.allow(this.#correct(error.fault))) continue;
        const isOutage = performance.now() < this.#outageUntil;
        const delayMs = isOutage ? undefined : delaysMs[tries++];
        if (delayMs === undefined && error.fault.status === 0) {
          this.#outageUntil = performance.now() + outageMs;
        }
        if (delayMs === undefined || this.#closed.signal.aborted || !isRetryable(error.fault)) throw error;
        await sleep(delayMs * (0.5 + Math.random() / 2), this.#closed.signal);
      }
    }
  }

  async #once<T>(
    request: S3Request,
    take: (response: Response, cancel: TimeLimit) => Promise<T>,
  ): Promise<T> {
    const { method, what, key = "", query = {}, headers = {}, body } = request;
    const credentials = await this.#options.credentials.resolve();
    const url = s3Url(this.place, this.#region, key, query);
    const signed = await signRequest(
      { method, url, headers, payloadHash: request.bodyHash ?? hashOf(body ?? "") },
      { service: "s3", region: this.#region, credentials, now: this.#clock.now() },
    );
    if (this.#closed.signal.aborted) throw new S3Error(what, { status: 0, code: "the store is closed" });
    const limit = new TimeLimit(this.timeoutMs, (done) => this.#limits.delete(done));
    this.#limits.add(limit);
    try {
      const response = await this.#options.fetch(url, {
        method,
        headers: signed,
        redirect: "manual",
        signal: limit.signal,
        ...body !== undefined && { body: body as Uint8Array<ArrayBuffer> },
      });
      if (response.ok) return await take(response, limit);
      const fault = faultOf(response.status, response.headers, await readText(response, 64 << 10));
      if (blamesCredentials(fault)) this.#options.credentials.reject(credentials);
      throw new S3Error(what, fault);
    } catch (error) {
      limit.done();
      if (error instanceof S3Error) throw error;
      throw new S3Error(what, { status: 0, code: limit.isOver ? "no answer in time" : "no connection" }, {
        cause: error,
      });
    } finally {
      if (!limit.isPaused) limit.done();
    }
  }

  /** What can be put right before the same request is sent again. */
  #correct(fault: S3Fault): Correction | undefined {
    const { status, code } = fault;
    const region = fault.region ?? regionOfHost(fault.host ?? "", this.place);
    const isElsewhere = status === 301 || status === 307 || status === 400;
    if (isElsewhere && region !== undefined && region !== this.#region && /^[a-z0-9-]{2,40}$/.test(region)) {
      this.#region = region;
      return "region";
    }
    // An answer to HEAD has no body, so a clock that is wrong looks like any other 403.
    const isClock = code === "RequestTimeTooSkewed" || (status === 403 && code === "HTTP 403");
    if (isClock && this.#clock.correct(fault.date)) return "clock";
    return blamesCredentials(fault) ? "credentials" : undefined;
  }
}

type Correction = "region" | "clock" | "credentials";

/** Each thing is put right once for a request, the region twice. */
class Corrections {
  readonly #left = new Map<Correction, number>([["region", 2], ["clock", 1], ["credentials", 1]]);

  allow(correction: Correction | undefined): boolean {
    if (correction === undefined) return false;
    const left = this.#left.get(correction) ?? 0;
    this.#left.set(correction, left - 1);
    return left > 0;
  }
}

/** Ends a request that takes too long; between the pieces of a stream it is paused. */
class TimeLimit {
  readonly #abort = new AbortController();
  readonly #ms: number;
  readonly #onDone: (limit: TimeLimit) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  isOver = false;
  isPaused = false;

  constructor(ms: number, onDone: (limit: TimeLimit) => void) {
    this.#ms = ms;
    this.#onDone = onDone;
    this.resume();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  pause(): void {
    this.isPaused = true;
    clearTimeout(this.#timer);
  }

  resume(): void {
    this.isPaused = false;
    this.#timer = setTimeout(() => {
      this.isOver = true;
      this.#abort.abort();
    }, this.#ms);
  }

  /** The request has ended. */
  done(): void {
    clearTimeout(this.#timer);
    this.#onDone(this);
  }

  /** Nobody waits for the request any more. */
  end(): void {
    this.done();
    this.#abort.abort();
  }
}

/** The body of an answer, piece by piece, none of which may keep us waiting for longer than the limit. */
export class OpenedBody {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #limit: TimeLimit;

  constructor(reader: ReadableStreamDefaultReader<Uint8Array> | undefined, limit: TimeLimit) {
    this.#reader = reader;
    this.#limit = limit;
  }

  /** The next piece; undefined at the end. Throws when the connection breaks. */
  async read(): Promise<Uint8Array | undefined> {
    if (this.#reader === undefined) return undefined;
    this.#limit.resume();
    try {
      return (await this.#reader.read()).value;
    } finally {
      this.#limit.pause();
    }
  }

  /** Lets go of what was not read; called once all is read, too. */
  async cancel(): Promise<void> {
    this.#limit.done();
    // What broke before has been told to whoever read it.
    await Promise.allSettled([this.#reader?.cancel()]);
  }
}

async function readText(response: Response, limit: number): Promise<string> {
  const reader = response.body?.getReader();
  if (reader === undefined) return "";
  const decoder = new TextDecoder();
  let text = "";
  for (let size = 0;;) {
    const { value } = await reader.read();
    if (value === undefined) return text + decoder.decode();
    size += value.length;
    if (size > limit) {
      await reader.cancel();
      throw new Error(`Cannot read an answer of S3: it is longer than ${limit} bytes`);
    }
    text += decoder.decode(value, { stream: true });
  }
}
