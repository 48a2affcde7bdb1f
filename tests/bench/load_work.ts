import type { LoadOptions } from "./load_options.ts";

/** One message to send: its number in the run, and when it was due by the same clock as `now`. */
export interface Ticket {
  readonly sequence: number;
  readonly dueAt: number;
}

type WorkOptions = Pick<LoadOptions, "total" | "seconds" | "rate"> & Partial<Pick<LoadOptions, "keep">>;

/** Hands out the messages of a run: as many, as long and as fast as asked. */
export class LoadWork {
  readonly #options: WorkOptions;
  readonly #mayEnd: Promise<void>;
  readonly #began: number;
  readonly #now: () => number;
  #next = 0;

  /** Those that are kept back are handed out once `mayEnd` has resolved. */
  constructor(options: WorkOptions, now: () => number, mayEnd: Promise<void> = Promise.resolve()) {
    this.#options = options;
    this.#mayEnd = mayEnd;
    this.#now = now;
    this.#began = now();
  }

  /** The next message, once it is due; undefined when the run is over. */
  async take(): Promise<Ticket | undefined> {
    const { total, seconds, rate, keep = 0 } = this.#options;
    const endsAt = seconds === 0 ? Infinity : this.#began + seconds * 1_000;
    if ((total !== 0 && this.#next >= total) || this.#now() >= endsAt) return undefined;
    const sequence = this.#next++;
    const dueAt = rate === 0 ? this.#now() : this.#began + sequence * 1_000 / rate;
    if (dueAt >= endsAt) return undefined;
    const wait = dueAt - this.#now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    if (keep > 0 && sequence >= total - keep) await this.#mayEnd;
    return { sequence, dueAt };
  }
}
