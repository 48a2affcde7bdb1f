import { pause, type RedisConnection } from "./redis_connection.ts";

const readMs = 1_000;
const faultMs = 250;
/** How long somebody waits who has seen another ring than the read under way begins after. */
const mismatchMs = 50;

/** Wakes those who wait for entries: one blocking read, on a connection of its own, serves them all. */
export class RedisBell {
  readonly #connection: RedisConnection;
  readonly #key: string;
  readonly #timeoutMs: number;
  readonly #closing = new AbortController();
  #opened: Promise<void> | undefined;
  #reading: { readonly after: string; readonly end: Promise<void> } | undefined;

  constructor(connection: RedisConnection, key: string, timeoutMs: number) {
    this.#connection = connection;
    this.#key = key;
    this.#timeoutMs = timeoutMs;
  }

  /** Resolves when the bell was rung after the ring named, after `ms` at most, and at once when closed. */
  async wait(after: string, ms: number): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#reading ??= { after, end: this.#read(after).finally(() => this.#reading = undefined) };
    const { after: from, end } = this.#reading;
    const enough = new AbortController();
    await Promise.race([end, pause(from === after ? ms : Math.min(ms, mismatchMs), enough.signal)]);
    enough.abort();
  }

  /** Ends every wait. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#connection.cut();
    await this.#reading?.end;
    await this.#connection[Symbol.asyncDispose]();
  }

  /** Never throws: who waits asks the server again and learns there what is wrong. */
  async #read(after: string): Promise<void> {
    try {
      this.#opened ??= this.#connection.open();
      await this.#opened;
      await this.#connection.send(
        ["XREAD", "BLOCK", String(readMs), "STREAMS", this.#key, after],
        readMs + this.#timeoutMs,
      );
    } catch {
      if (!await this.#connection.connected(0)) this.#opened = undefined;
      await pause(faultMs, this.#closing.signal);
    }
  }
}
