import { Late, withinTime } from "../../lib/deadlines.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import type { Body } from "../../lib/store/body.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";

const longestReadMs = 10_000;
const mostHanging = 32;
const mebibyte = 1 << 20;

/**
 * A store whose reads end, those of its bodies included: what hangs throws `Late` after ten seconds, and while too many
 * reads hang in one kind of store it is asked for nothing more. Neither other mail nor the end of the process is held
 * up.
 */
export class TimedStore implements Pick<MessageStore, "get"> {
  readonly #store: Pick<MessageStore, "get">;
  readonly #limitMs: number;
  readonly #most: number;
  readonly #clocks = new Map<string, Clock>();

  constructor(store: Pick<MessageStore, "get">, limitMs = longestReadMs, most = mostHanging) {
    this.#store = store;
    this.#limitMs = limitMs;
    this.#most = most;
  }

  async get(ref: StorageRef): Promise<Body | undefined> {
    const clock = this.#clockOf(ref.slice(0, ref.indexOf(":")));
    if (clock.hanging >= this.#most) throw new Late(`${clock.hanging} reads hang`);
    const late = (body: Body | undefined) => body?.[Symbol.asyncDispose]();
    const body = await clock.time(this.#limitMs, () => this.#store.get(ref), late);
    return body && new TimedBody(body, clock, this.#limitMs);
  }

  /** One for each kind of store: a folder that hangs says nothing about S3. */
  #clockOf(kind: string): Clock {
    const clock = this.#clocks.get(kind) ?? new Clock();
    this.#clocks.set(kind, clock);
    return clock;
  }
}

type AfterLate<T> = (result: T) => PromiseLike<void> | undefined;

/** Times reads, and counts those that hang longer than anybody waits. */
class Clock {
  hanging = 0;

  async time<T>(limitMs: number, read: () => Promise<T>, late: AfterLate<T> = () => undefined): Promise<T> {
    const reading = read();
    try {
      return await withinTime(limitMs, reading);
    } catch (error) {
      if (error instanceof Late) void this.#outlive(reading, late);
      throw error;
    }
  }

  /** Nobody waits any longer for what comes of it, be it bytes or a failure; its reader has been told that it is late. */
  async #outlive<T>(reading: Promise<T>, late: AfterLate<T>): Promise<void> {
    this.hanging++;
    const [end] = await Promise.allSettled([reading]);
    this.hanging--;
    if (end.status === "fulfilled") await Promise.allSettled([late(end.value)]);
  }
}

/** A body of such a store: each chunk comes in time, all of them at once in as many times as there are MiB. */
class TimedBody implements Body {
  readonly size: number;
  readonly sha256: Uint8Array;
  readonly #body: Body;
  readonly #clock: Clock;
  readonly #limitMs: number;

  constructor(body: Body, clock: Clock, limitMs: number) {
    this.size = body.size;
    this.sha256 = body.sha256;
    this.#body = body;
    this.#clock = clock;
    this.#limitMs = limitMs;
  }

  bytes(): Promise<Uint8Array> {
    const limitMs = this.#limitMs * (1 + Math.ceil(this.size / mebibyte));
    return this.#clock.time(limitMs, () => this.#body.bytes());
  }

  stream(): ReadableStream<Uint8Array> {
    const reader = this.#body.stream().getReader();
    return new ReadableStream({
      pull: async (controller) => {
        const { done, value } = await this.#clock.time(
          this.#limitMs,
          () => reader.read(),
          () => reader.cancel(),
        );
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => this.#clock.time(this.#limitMs, () => reader.cancel(reason)),
    }, { highWaterMark: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#body[Symbol.asyncDispose]();
  }
}
