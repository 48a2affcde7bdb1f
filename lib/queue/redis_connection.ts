import { createClient, ErrorReply } from "@redis/client";
import type { Log } from "../telemetry/log_fields.ts";

/** How to reach one Redis or Valkey server and as whom. */
export interface RedisServer {
  /** `host:port`; the port is 6379 when it is left out, an IPv6 host stands in brackets. */
  readonly address: string;
  /**
   * An ACL user; the default user when it is left out. It needs the keys `{<stream name>}:*` and the commands of
   * `@connection` and `@stream`, EVAL, EVALSHA, TIME, GET, SET, EXISTS, DEL, ZADD, ZRANGE, ZREM and ZCARD.
   */
  readonly username?: string;
  readonly password?: string;
  readonly database?: number;
  readonly tls?: boolean;
  /** PEM of the authorities to trust with `tls`; the system's when it is left out. */
  readonly ca?: string;
}

/** A command that brought no result. `unanswered`: it was sent, so that it may or may not have been carried out. */
export class RedisFault extends Error {
  override readonly name = "RedisFault";
  constructor(readonly kind: "unsent" | "refused" | "unanswered", message: string, options?: ErrorOptions) {
    super(message, options);
  }
}

type Client = ReturnType<typeof newClient>;

const firstPauseMs = 50;
const longestPauseMs = 1_000;
const maxPending = 10_000;
const graceMs = 50;

/**
 * One connection that is made again whenever it breaks. Every command ends within its time: an answer that does not
 * come in time ends the connection, because a server that hangs answers nothing behind it either.
 */
export class RedisConnection implements AsyncDisposable {
  readonly #server: RedisServer;
  readonly #timeoutMs: number;
  readonly #log: Log;
  readonly #closing = new AbortController();
  readonly #pending = new Set<Promise<unknown>>();
  #client: Client | undefined;
  #connecting: Promise<void> | undefined;
  #lastFault: unknown;

  constructor(server: RedisServer, timeoutMs: number, log: Log) {
    this.#server = server;
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /**
   * Tries once to connect. Throws when the server says no (a wrong password, a certificate that is not trusted);
   * a server that cannot be reached is logged and tried again for as long as the connection is open.
   */
  async open(): Promise<void> {
    try {
      await this.#connect();
    } catch (error) {
      if (!isUnreachable(error)) {
        throw new Error(`Cannot use Redis at ${this.#server.address}: ${messageOf(error)}`, { cause: error });
      }
      this.#down(error);
    }
  }

  /** Sends one command; throws a `RedisFault` and nothing else. */
  async send(args: readonly string[], timeoutMs = this.#timeoutMs): Promise<unknown> {
    const client = this.#client;
    if (client === undefined) throw this.#unsent();
    if (this.#pending.size >= maxPending) {
      throw new RedisFault("unsent", `Cannot ask Redis: ${maxPending} commands wait for their answers`);
    }
    const answer = client.sendCommand([...args]);
    this.#pending.add(answer);
    const fault = new Error(`No answer in ${timeoutMs} ms`);
    // A process that was too busy to read finds the answer first.
    let late = setTimeout(() => late = setTimeout(() => this.#lose(client, fault), graceMs), timeoutMs);
    try {
      return await answer;
    } catch (error) {
      if (error instanceof ErrorReply) throw new RedisFault("refused", error.message, { cause: error });
      const reason = this.#client === client ? error : this.#lastFault;
      throw new RedisFault("unanswered", `Redis did not answer: ${messageOf(reason)}`, { cause: reason });
    } finally {
      clearTimeout(late);
      this.#pending.delete(answer);
    }
  }

  /** Resolves when connected or after `ms`, whichever is first, or at once when closed; true when connected. */
  async connected(ms: number): Promise<boolean> {
    if (this.#client === undefined && this.#connecting !== undefined) {
      const enough = new AbortController();
      await Promise.race([this.#connecting, pause(ms, enough.signal)]);
      enough.abort();
    }
    return this.#client !== undefined;
  }

  /** Ends the connection at once; commands without an answer fail. */
  cut(): void {
    this.#closing.abort();
    this.#client?.destroy();
    this.#client = undefined;
  }

  /** Waits for the answers that are due, at most as long as a command may take, then closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#pending);
    this.cut();
    await this.#connecting;
  }

  async #connect(): Promise<void> {
    const client = newClient(this.#server, this.#timeoutMs);
    client.on("error", (error: Error) => this.#lose(client, error));
    const stop = () => client.destroy();
    this.#closing.signal.addEventListener("abort", stop);
    const late = setTimeout(stop, this.#timeoutMs);
    try {
      await client.connect();
      // A server that hangs accepts connections, and one that still loads its file refuses every command.
      await client.sendCommand(["PING"]);
      if (this.#closing.signal.aborted) throw new Error("The connection was closed");
      this.#client = client;
    } catch (error) {
      client.destroy();
      throw error;
    } finally {
      clearTimeout(late);
      this.#closing.signal.removeEventListener("abort", stop);
    }
  }

  #lose(client: Client, error: unknown): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    this.#lastFault = error;
    client.destroy();
    if (!this.#closing.signal.aborted) this.#down(error);
  }

  #down(error: unknown): void {
    this.#lastFault = error;
    this.#log.warn("queue connection lost", { queue: this.#server.address, error });
    this.#connecting ??= this.#connectAgain().finally(() => this.#connecting = undefined);
  }

  async #connectAgain(): Promise<void> {
    let said = "";
    for (let wait = firstPauseMs;; wait = Math.min(2 * wait, longestPauseMs)) {
      await pause(wait, this.#closing.signal);
      if (this.#closing.signal.aborted) return;
      try {
        await this.#connect();
        this.#log.info("queue connection restored", { queue: this.#server.address });
        return;
      } catch (error) {
        this.#lastFault = error;
        if (messageOf(error) !== said) {
          this.#log.warn("queue connection refused", { queue: this.#server.address, error });
        }
        said = messageOf(error);
      }
    }
  }

  #unsent(): RedisFault {
    if (this.#closing.signal.aborted) {
      return new RedisFault("unsent", "Cannot ask Redis: the queue is closed");
    }
    const reason = messageOf(this.#lastFault);
    return new RedisFault("unsent", `Cannot reach Redis at ${this.#server.address}: ${reason}`, {
      cause: this.#lastFault,
    });
  }
}

function newClient(server: RedisServer, timeoutMs: number) {
  const { host, port } = parseAddress(server.address);
  const socket = { host, port, connectTimeout: timeoutMs, reconnectStrategy: false as const };
  return createClient({
    RESP: 2,
    socket: server.tls
      ? { ...socket, tls: true, ...(server.ca === undefined ? {} : { ca: server.ca }) }
      : socket,
    ...(server.username === undefined ? {} : { username: server.username }),
    ...(server.password === undefined ? {} : { password: server.password }),
    database: server.database ?? 0,
    disableOfflineQueue: true,
    disableClientInfo: true,
    maintNotifications: "disabled",
  });
}

/** `host:port` apart; throws when it is neither that nor a host alone. */
export function parseAddress(address: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:/@[\]]+))(?::(\d{1,5}))?$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? 6379);
  if (host === undefined || port < 1 || port > 65535) {
    throw new Error(`Cannot use the Redis address: current value is "${address}", expected host:port`);
  }
  return { host, port };
}

/** Whether trying again may help without anybody's doing: not there, not answering, still loading. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof ErrorReply) {
    return /^(LOADING|BUSY|MASTERDOWN|TRYAGAIN|ERR max number)/.test(error.message);
  }
  const code = (error as { readonly code?: unknown }).code;
  if (typeof code === "string" && /^(E[A-Z]+)$/.test(code)) return true;
  return /timeout|closed|disconnects|reset|refused/i.test(messageOf(error));
}

function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return messageOf(error.errors[0]);
  return error instanceof Error ? error.message : String(error);
}

/** Waits, or less when `cut` is aborted. */
export async function pause(ms: number, cut: AbortSignal): Promise<void> {
  if (cut.aborted) return;
  const waited = Promise.withResolvers<void>();
  const timer = setTimeout(waited.resolve, ms);
  const stop = () => waited.resolve();
  cut.addEventListener("abort", stop);
  await waited.promise;
  clearTimeout(timer);
  cut.removeEventListener("abort", stop);
}
