import { Refusal } from "../refusal.ts";

/** Shares out a number of bytes, first come first served, so that bodies in memory stay bounded (ruling 3.2). */
export class MemoryBudget {
  readonly #limit: number;
  readonly #waiting = new Set<Waiting>();
  #used = 0;

  /** A limit in bytes. */
  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** Bytes reserved now. */
  get used(): number {
    return this.#used;
  }

  /** Callers that wait for their turn. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /**
   * Reserves bytes until the result is disposed. Waits its turn for at most `waitMs`, then throws
   * `Refusal("body_memory_full")`; throws the signal's reason when that is aborted first. A request above the
   * whole limit is granted when everything is free, and then takes all of it.
   */
  async reserve(bytes: number, waitMs: number, signal?: AbortSignal): Promise<Disposable> {
    signal?.throwIfAborted();
    const share = Math.min(Math.max(0, bytes), this.#limit);
    if (this.#waiting.size === 0 && this.#used + share <= this.#limit) return this.#grant(share);
    const { promise, resolve, reject } = Promise.withResolvers<Disposable>();
    const waiting: Waiting = { share, resolve };
    const giveUp = (error: unknown) => {
      // The one that leaves may be the one the others waited behind.
      if (this.#waiting.delete(waiting)) reject(error);
      this.#serve();
    };
    const abort = () => giveUp(signal?.reason);
    const timer = setTimeout(() => giveUp(full(share, waitMs)), waitMs);
    this.#waiting.add(waiting);
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  #grant(share: number): Disposable {
    this.#used += share;
    let held = true;
    return {
      [Symbol.dispose]: () => {
        if (!held) return;
        held = false;
        this.#used -= share;
        this.#serve();
      },
    };
  }

  #serve(): void {
    for (const waiting of this.#waiting) {
      // Nobody overtakes: a large request would otherwise wait for ever behind small ones.
      if (this.#used + waiting.share > this.#limit) return;
      this.#waiting.delete(waiting);
      waiting.resolve(this.#grant(waiting.share));
    }
  }
}

interface Waiting {
  readonly share: number;
  readonly resolve: (held: Disposable) => void;
}

function full(share: number, waitMs: number): Refusal {
  return new Refusal(
    "body_memory_full",
    `Cannot take a body of ${share} bytes now: no memory was free for ${waitMs} ms`,
  );
}
