import type { EspIo } from "./esp.ts";
import type { HttpRequest, HttpResult } from "./http.ts";
import { answerOf } from "./http_outcome.ts";
import { graphError, outcomeOfGraph } from "./msgraph_outcome.ts";
import { graphClouds } from "./msgraph_settings.ts";
import type { GraphSettings } from "./msgraph_settings.ts";
import { GraphToken } from "./msgraph_token.ts";
import type { EspAnswer, RecipientOutcome } from "./outcome.ts";
import { callService } from "./whole_parcel.ts";

/** A request to Graph, below the mailbox. */
export interface GraphRequest extends Pick<HttpRequest, "method" | "body" | "sendsMail"> {
  /** E.g. `sendMail`, or `messages/AAMk=/send`; its parts are already encoded. */
  readonly path: string;
  readonly contentType?: string;
}

/** How a request to Graph ended. */
export interface GraphResult {
  /** What it means for a message; `accepted` only for the status that was hoped for. */
  readonly outcome: RecipientOutcome;
  readonly answer?: EspAnswer;
  /** What came over the wire; absent when there was no token to ask with. */
  readonly result?: HttpResult;
}

/** One mailbox at Microsoft Graph, asked with the application's token. */
export class GraphMailbox implements AsyncDisposable {
  readonly #settings: GraphSettings;
  readonly #io: EspIo;
  readonly #token: GraphToken;

  constructor(settings: GraphSettings, io: EspIo) {
    this.#settings = settings;
    this.#io = io;
    this.#token = new GraphToken(settings, io);
  }

  /** Makes one request; a token that Graph refuses is replaced once. Never throws. */
  async call(request: GraphRequest, success: number, signal: AbortSignal): Promise<GraphResult> {
    for (let isAgain = false;; isAgain = true) {
      const held = await this.#token.get(signal);
      if (!("token" in held)) return held;
      const result = await this.#ask(request, held.token, signal);
      if (result.kind === "answered" && result.status === 401 && !isAgain) {
        this.#token.discard(held.token);
        continue;
      }
      return this.read(result, success);
    }
  }

  /** The same for a URL that Graph has named and that needs no token. */
  async put(
    url: URL,
    headers: Readonly<Record<string, string>>,
    body: Uint8Array,
    signal: AbortSignal,
  ): Promise<HttpResult> {
    const isOwn = this.#settings.endpoint !== undefined;
    return await callService(this.#io, { method: "PUT", url, headers, body }, signal, isOwn);
  }

  /** Whether parts of an attachment may be sent there: to Microsoft, or where an endpoint of one's own is checked. */
  isUploadUrl(url: URL): boolean {
    if (this.#settings.endpoint !== undefined) return /^https?:$/.test(url.protocol);
    const hosts = graphClouds[this.#settings.cloud].uploads;
    return url.protocol === "https:" && url.port === "" && url.username + url.password === "" &&
      hosts.some((host) => url.hostname === host || url.hostname.endsWith(`.${host}`));
  }

  /** What a result means; `success` is the one status that is hoped for. */
  read(result: HttpResult, success: number): GraphResult {
    const secrets = this.#token.secrets();
    const outcome = outcomeOfGraph(result, this.#io.now(), secrets, success);
    if (result.kind !== "answered") return { outcome, result };
    return { outcome, result, answer: answerOf(result, secrets, graphError(result)?.code) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#token[Symbol.asyncDispose]();
  }

  #ask(request: GraphRequest, token: string, signal: AbortSignal): Promise<HttpResult> {
    const { endpoint, cloud, user_id: user } = this.#settings;
    const base = endpoint?.replace(/\/*$/, "/") ?? graphClouds[cloud].graph;
    const { path, contentType, ...rest } = request;
    const headers = {
      authorization: `Bearer ${token}`,
      accept: "application/json",
      ...(contentType === undefined ? {} : { "content-type": contentType }),
    };
    const url = new URL(`v1.0/users/${encodeURIComponent(user)}/${path}`, base);
    return callService(this.#io, { ...rest, url, headers }, signal, endpoint !== undefined);
  }
}
