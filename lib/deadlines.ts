/** What took longer than its limit. */
export class Late extends Error {
  override readonly name = "Late";
}

interface Limited {
  readonly at: number;
  readonly end: () => void;
}

/** Gives many works the same longest time, with one timer for all of them: whose limit comes first has it. */
export class Deadlines {
  readonly #limitMs: number;
  // In order of their limits.
  readonly #running = new Set<Limited>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(limitMs: number) {
    this.#limitMs = limitMs;
  }

  /** What the work answers, or throws `Late` when that takes longer; the work itself goes on. */
  async limit<T>(work: Promise<T>): Promise<T> {
    const late = Promise.withResolvers<never>();
    const limited: Limited = {
      at: performance.now() + this.#limitMs,
      end: () => late.reject(new Late(`No answer within ${this.#limitMs} ms`)),
    };
    this.#running.add(limited);
    this.#timer ??= setTimeout(() => this.#look(), this.#limitMs);
    try {
      return await Promise.race([work, late.promise]);
    } finally {
      this.#running.delete(limited);
      if (this.#running.size === 0) this.#rest();
    }
  }

  #look(): void {
    this.#rest();
    const now = performance.now();
    for (const limited of this.#running) {
      if (limited.at > now) {
        this.#timer = setTimeout(() => this.#look(), limited.at - now);
        return;
      }
      this.#running.delete(limited);
      limited.end();
    }
  }

  #rest(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
