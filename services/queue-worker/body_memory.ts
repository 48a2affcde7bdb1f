import { MemoryBudget } from "../../lib/store/memory_budget.ts";

const smallRequest = 1024 * 1024;

/**
 * Memory for the bodies that are being delivered. An eighth of it is for small ones, which thereby never wait until
 * some slow service has taken a large one.
 */
export class BodyMemory {
  readonly #small: MemoryBudget;
  readonly #large: MemoryBudget;

  /** A limit in bytes for both parts together. */
  constructor(limitBytes: number) {
    const small = Math.floor(limitBytes / 8);
    this.#small = new MemoryBudget(small);
    this.#large = new MemoryBudget(limitBytes - small);
  }

  /** Bytes reserved now. */
  get used(): number {
    return this.#small.used + this.#large.used;
  }

  /**
   * Reserves bytes until the result is disposed; waits its turn until the signal is aborted, then throws its reason. A
   * request above the whole limit is granted when everything of its part is free.
   */
  async reserve(bytes: number, signal: AbortSignal): Promise<Disposable> {
    const part = bytes <= smallRequest ? this.#small : this.#large;
    return await part.reserve(bytes, longestWaitMs, signal);
  }
}

/** Other deliveries end and free it, so the wait is bounded by them; a timer takes no more than this. */
const longestWaitMs = 86_400_000;
