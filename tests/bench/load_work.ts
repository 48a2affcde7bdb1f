import type { LoadOptions } from "./load_options.ts";

/** One message to send: its number in the run, and when it was due by the same clock as `now`. */
export interface Ticket {
  readonly sequence: number;
  readonly dueAt: number;
}

/** Hands out the messages of a run: as many, as long and as fast as asked. */
export class LoadWork {
  readonly #options: Pick<LoadOptions, "total" | "seconds" | "rate">;
  readonly #began: number;
  readonly #now: () => number;
  #next = 0;

  constructor(options: Pick<LoadOptions, "total" | "seconds" | "rate">, now: () => number) {
    this.#options = options;
    this.#now = now;
    this.#began = now();
  }

  /** The next message, once it is due; undefined when the run is over. */
  async take(): Promise<Ticket | undefined> {
    const { total, seconds, rate } = this.#options;
    const endsAt = seconds === 0 ? Infinity : this.#began + seconds * 1_000;
    if ((total !== 0 && this.#next >= total) || this.#now() >= endsAt) return undefined;
    const sequence = this.#next++;
    const dueAt = rate === 0 ? this.#now() : this.#began + sequence * 1_000 / rate;
    if (dueAt >= endsAt) return undefined;
    const wait = dueAt - this.#now();
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    return { sequence, dueAt };
  }
}
