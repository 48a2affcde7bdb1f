import { clearAlarm, setAlarm } from "../alarms.ts";
import type { CallBounds } from "./channel.ts";
import type { SmtpClient } from "./client.ts";
import { SmtpFailure } from "./failure.ts";

/** What a pool may hold. */
export interface PoolLimits {
  /** Connections open at a time; a call above waits for one to come back. */
  readonly open: number;
  /** How long a connection may wait for its next message. */
  readonly idleMs: number;
  /** Messages per connection. */
  readonly messages: number;
}

interface Idle {
  readonly client: SmtpClient;
  readonly until: number;
}

/** Keeps connections to one server open between messages, the one used last first. */
export class SmtpPool implements AsyncDisposable {
  readonly #open: (bounds: CallBounds) => Promise<SmtpClient>;
  readonly #limits: PoolLimits;
  readonly #idle: Idle[] = [];
  readonly #waiting: (() => void)[] = [];
  readonly #quitting = new Set<Promise<void>>();
  #count = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isClosed = false;

  constructor(open: (bounds: CallBounds) => Promise<SmtpClient>, limits: PoolLimits) {
    this.#open = open;
    this.#limits = limits;
  }

  /** An idle connection, else a new one, or always a new one when `isFresh`; throws what opening throws. */
  async take(bounds: CallBounds, isFresh = false): Promise<SmtpClient> {
    for (;;) {
      const idle = isFresh ? undefined : this.#popIdle();
      if (idle !== undefined) return idle;
      if (this.#count < this.#limits.open) return await this.#openAnother(bounds);
      // A fresh one is wanted and the limit is reached: an idle one makes room.
      if (isFresh && this.#idle.length > 0) this.#retire(this.#popIdle());
      else await this.#turn(bounds);
    }
  }

  /** Takes a connection back; one that is dead or has done its share is closed. */
  give(client: SmtpClient): void {
    if (client.isDead || client.sent >= this.#limits.messages || this.#isClosed) this.#retire(client);
    else {
      this.#idle.push({ client, until: performance.now() + this.#limits.idleMs });
      client.watch(() => this.#dropIdle(client));
      this.#timer ??= setTimeout(() => this.#expire(), this.#limits.idleMs);
    }
    this.#waiting.shift()?.();
  }

  /** Says QUIT on every idle connection; connections in use are closed when they come back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    while (this.#idle.length > 0) this.#retire(this.#popIdle());
    await Promise.all(this.#quitting);
  }

  async #openAnother(bounds: CallBounds): Promise<SmtpClient> {
    this.#count++;
    try {
      return await this.#open(bounds);
    } catch (error) {
      this.#count--;
      this.#waiting.shift()?.();
      throw error;
    }
  }

  #popIdle(): SmtpClient | undefined {
    const client = this.#idle.pop()?.client;
    client?.watch(undefined);
    return client;
  }

  #dropIdle(client: SmtpClient): void {
    const index = this.#idle.findIndex((idle) => idle.client === client);
    if (index >= 0) this.#idle.splice(index, 1);
    client.watch(undefined);
    client.destroy();
    this.#retire(client);
  }

  #retire(client: SmtpClient | undefined): void {
    if (client === undefined) return;
    this.#count--;
    const quitting = client.quit();
    this.#quitting.add(quitting);
    quitting.finally(() => this.#quitting.delete(quitting));
    this.#waiting.shift()?.();
  }

  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    while (this.#idle[0] !== undefined && this.#idle[0].until <= now + 1) {
      const { client } = this.#idle[0];
      this.#idle.shift();
      client.watch(undefined);
      this.#retire(client);
    }
    const next = this.#idle[0];
    if (next !== undefined) this.#timer = setTimeout(() => this.#expire(), Math.max(1, next.until - now));
  }

  async #turn(bounds: CallBounds): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.push(resolve);
    const alarm = setAlarm(Math.max(1, bounds.deadline - performance.now()), resolve);
    const abort = () => resolve();
    bounds.signal.addEventListener("abort", abort);
    if (bounds.signal.aborted) resolve();
    await promise;
    clearAlarm(alarm);
    bounds.signal.removeEventListener("abort", abort);
    const index = this.#waiting.indexOf(resolve);
    if (index >= 0) this.#waiting.splice(index, 1);
    if (bounds.signal.aborted) throw new SmtpFailure("aborted", "The call was ended");
    if (performance.now() >= bounds.deadline) {
      throw new SmtpFailure(
        "connections_busy",
        `All ${this.#limits.open} connections to the server are in use`,
      );
    }
  }
}
