// An HTTP/1.1 server of its own: it reads requests byte by byte, shares no code with the clients that it checks, and
// breaks its promises where a test asks for it.
import { Buffer } from "node:buffer";
import net from "node:net";
import tls from "node:tls";
import { RequestReader } from "./http_request_reader.ts";
import type { SeenRequest } from "./http_request_reader.ts";

export type { SeenRequest } from "./http_request_reader.ts";

/** What a service answers. */
export interface HttpReply {
  readonly status: number;
  /** A list is written as several fields. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** An object is written as JSON. */
  readonly body?: string | Uint8Array | Readonly<Record<string, unknown>>;
}

/**
 * What goes wrong with one request. `served` says whether the service does what it was asked to before that; by
 * default it does not. `reset` sends RST, `close` sends FIN, `hang` goes on reading and says nothing more.
 */
export type HttpFault =
  /** Another answer than the service's. */
  | { readonly reply: HttpReply; readonly served?: boolean }
  /** These bytes in place of an answer; then the connection is closed. */
  | { readonly raw: string; readonly served?: boolean }
  /** As soon as the connection is made, before anything was read; on a kept one when the next request begins. */
  | { readonly unread: "reset" | "close" | "hang" }
  /** In the middle of the request, after its header. */
  | { readonly header: "reset" | "close" | "hang" }
  /** After the whole request was read. */
  | { readonly read: "reset" | "close" | "hang"; readonly served?: boolean }
  /** After a part of the answer: its first `bytes` bytes. */
  | { readonly answered: "reset" | "close" | "hang"; readonly bytes: number; readonly served?: boolean }
  /** The answer goes out in this many pieces, one each `everyMs`. */
  | { readonly pieces: number; readonly everyMs: number; readonly served?: boolean };

/** What a service does with one request. */
export type HttpHandler = (request: SeenRequest) => HttpReply | Promise<HttpReply>;

/** A running server on loopback; disposing drops every connection and waits for what still runs. */
export class FaultyHttp implements AsyncDisposable {
  /** Every request that was read to its end, in order. */
  readonly requests: SeenRequest[] = [];
  /** Connections since the start. */
  connections = 0;
  readonly #handle: HttpHandler;
  readonly #server: net.Server;
  readonly #isTls: boolean;
  readonly #faults: HttpFault[] = [];
  readonly #sockets = new Set<net.Socket>();
  readonly #running = new Set<Promise<void>>();
  readonly #hung = Promise.withResolvers<void>();
  readonly #waiting: { readonly count: number; readonly resolve: () => void }[] = [];

  private constructor(handle: HttpHandler, secure?: Certificate) {
    this.#handle = handle;
    this.#isTls = secure !== undefined;
    const accept = (socket: net.Socket) => this.#accept(socket);
    this.#server = secure === undefined ? net.createServer(accept) : tls.createServer({ ...secure }, accept);
  }

  /** Listens on any free port of 127.0.0.1. */
  static async open(handle: HttpHandler, secure?: Certificate): Promise<FaultyHttp> {
    const http = new FaultyHttp(handle, secure);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    http.#server.once("error", reject);
    http.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    return http;
  }

  /** E.g. `http://127.0.0.1:40123`, without a slash at the end. */
  get origin(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("The server does not listen");
    return `${this.#isTls ? "https" : "http"}://127.0.0.1:${address.port}`;
  }

  /** The next requests suffer these, one each, in order. */
  fail(...faults: readonly HttpFault[]): void {
    this.#faults.push(...faults);
  }

  /** Resolves when this many requests have been read to their end. */
  async read(count: number): Promise<void> {
    if (this.requests.length >= count) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push({ count, resolve });
    await promise;
  }

  /** Faults that no request has met yet. */
  get unmet(): number {
    return this.#faults.length;
  }

  /** Resolves when the first fault that hangs was met: what was to be done before it is done. */
  get hung(): Promise<void> {
    return this.#hung.promise;
  }

  /** Closes connections that wait for a request, as services do; those kept by a client are then stale. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** From now on nobody can connect. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.dropConnections();
    await closed;
    await Promise.all(this.#running);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server.listening) await this.close();
  }

  #accept(socket: net.Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.on("error", () => socket.destroy());
    socket.setNoDelay(true);
    const running = this.#converse(socket, this.connections).finally(() => {
      socket.destroy();
      this.#sockets.delete(socket);
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  async #converse(socket: net.Socket, connection: number): Promise<void> {
    const reader = new RequestReader(socket, connection);
    const early = this.#faults[0];
    if (early !== undefined && "unread" in early) {
      this.#faults.shift();
      socket.resume();
      return await this.#end(socket, early.unread);
    }
    while (await reader.readHead()) {
      const fault = this.#faults.shift();
      if (fault !== undefined && "unread" in fault) return await this.#end(socket, fault.unread);
      if (fault !== undefined && "header" in fault) return await this.#end(socket, fault.header);
      const request = await reader.readBody();
      if (request === undefined) return;
      this.requests.push(request);
      for (const { count, resolve } of this.#waiting) if (this.requests.length >= count) resolve();
      if (!await this.#respond(socket, request, fault)) return;
    }
  }

  /** Answers, and tells whether the connection may go on. */
  async #respond(socket: net.Socket, request: SeenRequest, fault: HttpFault | undefined): Promise<boolean> {
    const isServed = fault === undefined || ("served" in fault && fault.served === true) ||
      ("answered" in fault && fault.served !== false) || ("pieces" in fault && fault.served !== false);
    const reply = isServed ? await this.#handle(request) : { status: 500 };
    if (fault === undefined) return write(socket, replyBytes(reply, request));
    if ("reply" in fault) return write(socket, replyBytes(fault.reply, request));
    if ("raw" in fault) {
      await write(socket, Buffer.from(fault.raw, "latin1"));
      await this.#end(socket, "close");
    } else if ("answered" in fault) {
      await write(socket, replyBytes(reply, request).subarray(0, fault.bytes));
      await this.#end(socket, fault.answered);
    } else if ("pieces" in fault) {
      return await trickle(socket, replyBytes(reply, request), fault);
    } else if ("read" in fault) {
      await this.#end(socket, fault.read);
    }
    return false;
  }

  /** Ends a connection in one of three ways; a hanging one ends with the client or the server. */
  async #end(socket: net.Socket, how: "reset" | "close" | "hang"): Promise<void> {
    if (how === "reset") socket.resetAndDestroy();
    else if (how === "close") socket.destroy();
    else {
      this.#hung.resolve();
      socket.resume();
      await pause(socket);
    }
  }
}

/** What a TLS server shows. */
export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

function replyBytes({ status, headers = {}, body = "" }: HttpReply, { method }: SeenRequest): Buffer {
  const isPlain = typeof body === "string" || body instanceof Uint8Array;
  const content = isPlain ? Buffer.from(body as string) : Buffer.from(JSON.stringify(body));
  const given = new Set(Object.keys(headers).map((name) => name.toLowerCase()));
  const lines = [`HTTP/1.1 ${status} Reason`];
  for (const [name, value] of Object.entries(headers)) {
    for (const one of typeof value === "string" ? [value] : value) lines.push(`${name}: ${one}`);
  }
  if (!isPlain && !given.has("content-type")) lines.push("Content-Type: application/json");
  if (!given.has("content-length")) lines.push(`Content-Length: ${content.length}`);
  const head = Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  return method === "HEAD" ? head : Buffer.concat([head, content]);
}

async function write(socket: net.Socket, bytes: Uint8Array): Promise<boolean> {
  if (socket.destroyed) return false;
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const close = () => resolve(false);
  socket.once("close", close);
  socket.write(bytes, (error) => resolve(!error));
  const isWritten = await promise;
  socket.off("close", close);
  return isWritten;
}

async function trickle(socket: net.Socket, bytes: Uint8Array, { pieces, everyMs }: {
  readonly pieces: number;
  readonly everyMs: number;
}): Promise<boolean> {
  const length = Math.max(1, Math.ceil(bytes.length / pieces));
  for (let at = 0; at < bytes.length; at += length) {
    if (!await write(socket, bytes.subarray(at, at + length))) return false;
    if (at + length < bytes.length) await pause(socket, everyMs);
  }
  return !socket.destroyed;
}

/** Waits for a time, or until the socket is closed. */
async function pause(socket: net.Socket, ms?: number): Promise<void> {
  if (socket.destroyed) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
  const close = () => resolve();
  for (const event of ["close", "end"]) socket.once(event, close);
  await promise;
  for (const event of ["close", "end"]) socket.off(event, close);
  clearTimeout(timer);
}
