import { Refusal } from "../../../lib/refusal.ts";

/** Lets so many work at a time and so many wait; throws Refusal("credentials_throttled") for whoever comes beyond. */
export class Turns {
  readonly #maxWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(atOnce: number, maxWaiting: number) {
    this.#free = atOnce;
    this.#maxWaiting = maxWaiting;
  }

  /** Resolves when it is the caller's turn; disposing ends it. */
  async take(): Promise<Disposable> {
    if (this.#free > 0) {
      this.#free--;
    } else {
      if (this.#waiting.length >= this.#maxWaiting) {
        throw new Refusal("credentials_throttled", "too many logins at a time, try again later", {
          retryAfter: 10,
        });
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    return { [Symbol.dispose]: () => this.#next() };
  }

  #next(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

/** Turns for each of any number of keys, one at a time; a key that nobody uses is forgotten. */
export class KeyedTurns {
  readonly #maxWaiting: number;
  readonly #keys = new Map<string, { readonly turns: Turns; users: number }>();

  constructor(maxWaiting: number) {
    this.#maxWaiting = maxWaiting;
  }

  /** Resolves when it is the caller's turn for the key; disposing ends it. */
  async take(key: string): Promise<Disposable> {
    const entry = this.#keys.get(key) ?? { turns: new Turns(1, this.#maxWaiting), users: 0 };
    this.#keys.set(key, entry);
    entry.users++;
    const leave = () => {
      if (--entry.users === 0) this.#keys.delete(key);
    };
    try {
      const turn = await entry.turns.take();
      return {
        [Symbol.dispose]() {
          turn[Symbol.dispose]();
          leave();
        },
      };
    } catch (error) {
      leave();
      throw error;
    }
  }
}
