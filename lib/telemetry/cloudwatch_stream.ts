import { sleepFor } from "../retry.ts";
import type { CloudWatchClient } from "./cloudwatch.ts";
import { WaitingLines } from "./cloudwatch_batch.ts";
import type { LogStream } from "./log_outputs.ts";

/** How lines are gathered and how long they are kept. */
export interface CloudWatchStreamOptions {
  readonly client: Pick<CloudWatchClient, "put">;
  readonly maxWaitingBytes: number;
  /** Told of lines that will never be sent. */
  readonly onDropped: (count: number) => void;
  /** Told once for each time that the service is away, and why. */
  readonly onFault: (reason: string) => void;
  /** Where lines go that could not be sent before the process ends. */
  readonly lastResort: (text: string) => void;
  readonly gatherMs?: number;
  readonly firstPauseMs?: number;
  /** Longest wait for the service when the log is closed. */
  readonly closeMs?: number;
}

const longestPauseMs = 30_000;

/**
 * Sends lines to CloudWatch Logs, one request at a time, beside whatever writes them: who logs never waits. While the
 * service is away lines are kept, and dropped and counted beyond the memory they may take.
 */
export class CloudWatchStream implements LogStream {
  readonly #options: CloudWatchStreamOptions;
  readonly #waiting: WaitingLines;
  readonly #end = new AbortController();
  readonly #onClose: (() => void)[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #sending: Promise<void> | undefined;
  #isAway = false;

  constructor(options: CloudWatchStreamOptions) {
    this.#options = options;
    this.#waiting = new WaitingLines(options.maxWaitingBytes);
  }

  /** Takes whole lines. */
  write(text: string): void {
    let dropped = 0;
    for (const line of text.split("\n")) {
      if (line !== "" && !this.#waiting.add(line, Date.now())) dropped++;
    }
    if (dropped > 0) this.#options.onDropped(dropped);
    this.#wake();
  }

  /** The process ends now: what was not sent is written elsewhere, because nothing can be waited for. */
  flushSync(): void {
    const events = [];
    while (this.#waiting.count > 0) {
      const batch = this.#waiting.batch();
      events.push(...batch);
      this.#waiting.remove(batch.length);
    }
    if (events.length > 0) this.#options.lastResort(events.map(({ message }) => `${message}\n`).join(""));
  }

  /** Sends what waits, for a while; "close" follows. */
  end(): void {
    clearTimeout(this.#timer);
    void this.#finish();
  }

  destroy(): void {
    clearTimeout(this.#timer);
    this.#end.abort();
  }

  on(event: "error" | "close" | "drop", handler: (value?: unknown) => void): this {
    // Faults are told by `onFault`: a log whose service is away goes on.
    if (event === "close") this.#onClose.push(handler);
    return this;
  }

  #wake(): void {
    if (this.#sending !== undefined || this.#timer !== undefined || this.#end.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#begin();
    }, this.#options.gatherMs ?? 1000);
    Deno.unrefTimer(this.#timer);
  }

  #begin(): Promise<void> {
    this.#sending ??= this.#sendAll().finally(() => this.#sending = undefined);
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    let pauseMs = this.#options.firstPauseMs ?? 1000;
    while (this.#waiting.count > 0 && !this.#end.signal.aborted) {
      const batch = this.#waiting.batch();
      const result = await this.#options.client.put(batch, this.#end.signal);
      if (this.#end.signal.aborted) return;
      if (result.kind === "later") {
        this.#tellAway(result.reason);
        await sleepFor(pauseMs, this.#end.signal);
        pauseMs = Math.min(2 * pauseMs, longestPauseMs);
        continue;
      }
      this.#waiting.remove(batch.length);
      const dropped = result.kind === "taken" ? result.rejected : batch.length;
      if (dropped > 0) this.#options.onDropped(dropped);
      if (result.kind === "refused") this.#tellAway(result.reason);
      else this.#isAway = false;
    }
  }

  #tellAway(reason: string): void {
    if (!this.#isAway) this.#options.onFault(reason);
    this.#isAway = true;
  }

  async #finish(): Promise<void> {
    const late = new AbortController();
    const sent = this.#begin().then(() => late.abort());
    await sleepFor(this.#options.closeMs ?? 5000, late.signal);
    this.#end.abort();
    await sent;
    this.flushSync();
    for (const handler of this.#onClose) handler();
  }
}
