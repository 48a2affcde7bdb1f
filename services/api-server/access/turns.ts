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
