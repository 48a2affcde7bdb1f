import { writeFileSync, writeSync } from "node:fs";
import process from "node:process";
import { createInterface } from "node:readline";

/** What a sink has taken since it started. */
export interface SinkCounts {
  readonly messages: number;
  readonly recipients: number;
  readonly uniqueIds: number;
  /** Messages beyond the first of each id. */
  readonly duplicates: number;
  readonly withoutId: number;
  /** Seconds from the first message to the last. */
  readonly seconds: number;
  /** Messages in each second since the first. */
  readonly bySecond: readonly number[];
}

/** Counts what a sink takes. */
export class SinkTally {
  readonly #times = new Map<string, number>();
  readonly #bySecond: number[] = [];
  #messages = 0;
  #recipients = 0;
  #withoutId = 0;
  #firstAt = 0;
  #lastAt = 0;

  /** One message was taken, for so many recipients. */
  take(id: string | undefined, recipients: number): void {
    this.#lastAt = performance.now();
    if (this.#messages === 0) this.#firstAt = this.#lastAt;
    this.#messages++;
    this.#recipients += recipients;
    const second = Math.floor((this.#lastAt - this.#firstAt) / 1_000);
    this.#bySecond[second] = (this.#bySecond[second] ?? 0) + 1;
    if (id === undefined) this.#withoutId++;
    else this.#times.set(id, (this.#times.get(id) ?? 0) + 1);
  }

  counts(): SinkCounts {
    return {
      messages: this.#messages,
      recipients: this.#recipients,
      uniqueIds: this.#times.size,
      duplicates: this.#messages - this.#withoutId - this.#times.size,
      withoutId: this.#withoutId,
      seconds: (this.#lastAt - this.#firstAt) / 1_000,
      bySecond: Array.from(this.#bySecond, (count) => count ?? 0),
    };
  }

  /**
   * Prints `{"listening":port}`, then answers each line on standard input, a file name to write the ids to or nothing,
   * with one JSON line of counts; ends the process when standard input does.
   */
  async report(port: number): Promise<never> {
    say({ listening: port });
    for await (const file of createInterface({ input: process.stdin })) {
      if (file !== "") {
        const lines = [...this.#times].map(([id, count]) => `${id} ${count}\n`);
        writeFileSync(file, lines.join(""));
      }
      say(this.counts());
    }
    process.exit(0);
  }
}

function say(value: unknown): void {
  writeSync(1, JSON.stringify(value) + "\n");
}
