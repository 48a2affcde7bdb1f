interface Timer {
  at: number;
  readonly everyMs?: number;
  readonly run: () => void;
}

type Callback = (...args: unknown[]) => void;

/**
 * Timers and `performance.now()` of this process, which stand still until a test lets time pass: however slow the
 * machine is, no limit is over before. Whatever uses them ends before this is disposed. Dates go on as ever.
 */
export class HeldClock implements Disposable {
  readonly #real = { setTimeout, clearTimeout, setInterval, clearInterval };
  readonly #descriptors = new Map<string, PropertyDescriptor | undefined>();
  readonly #timers = new Map<unknown, Timer>();
  #nowMs = performance.now();

  constructor() {
    this.#replace(performance, "now", () => this.#nowMs);
    this.#replace(globalThis, "setTimeout", (run: Callback, ms = 0, ...args: unknown[]) => {
      return this.#add({ at: this.#nowMs + Math.max(1, ms), run: () => run(...args) });
    });
    this.#replace(globalThis, "setInterval", (run: Callback, ms = 0, ...args: unknown[]) => {
      const everyMs = Math.max(1, ms);
      return this.#add({ at: this.#nowMs + everyMs, everyMs, run: () => run(...args) });
    });
    for (const name of ["clearTimeout", "clearInterval"] as const) {
      this.#replace(globalThis, name, (handle: Parameters<typeof clearTimeout>[0]) => {
        if (!this.#timers.delete(handle)) this.#real[name](handle);
      });
    }
  }

  /** Lets so much time pass, once what is under way has come to rest; each timer runs at its time. */
  async pass(ms: number): Promise<void> {
    const end = this.#nowMs + ms;
    await this.#rest();
    for (let next = this.#next(end); next !== undefined; next = this.#next(end)) {
      const [handle, timer] = next;
      this.#nowMs = Math.max(this.#nowMs, timer.at);
      if (timer.everyMs === undefined) this.#timers.delete(handle);
      else timer.at += timer.everyMs;
      timer.run();
      await this.#rest();
    }
    this.#nowMs = end;
  }

  [Symbol.dispose](): void {
    for (const [name, descriptor] of this.#descriptors) {
      const owner = name === "now" ? performance : globalThis;
      if (descriptor === undefined) Reflect.deleteProperty(owner, name);
      else Object.defineProperty(owner, name, descriptor);
    }
  }

  #replace(owner: object, name: string, value: unknown): void {
    this.#descriptors.set(name, Object.getOwnPropertyDescriptor(owner, name));
    Object.defineProperty(owner, name, { value, configurable: true, writable: true, enumerable: true });
  }

  #add(timer: Timer): unknown {
    const handle = { ref: () => handle, unref: () => handle, hasRef: () => true };
    this.#timers.set(handle, timer);
    return handle;
  }

  #next(end: number): readonly [unknown, Timer] | undefined {
    let first: readonly [unknown, Timer] | undefined;
    for (const entry of this.#timers) if (first === undefined || entry[1].at < first[1].at) first = entry;
    return first === undefined || first[1].at > end ? undefined : first;
  }

  /** Some turns of the event loop, in which what this process sends to itself arrives. */
  async #rest(): Promise<void> {
    for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => this.#real.setTimeout(resolve, 1));
  }
}
