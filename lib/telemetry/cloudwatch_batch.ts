/** One line as CloudWatch Logs keeps it; the time is in milliseconds since 1970. */
export interface LogEvent {
  readonly timestamp: number;
  readonly message: string;
}

/** What the service takes at most: bytes count in UTF-8, with so many more for each event. */
const eventOverhead = 26;
const batchBytes = 1_048_576;
const batchEvents = 10_000;
const eventBytes = 262_144 - eventOverhead;

/** Lines that wait to be sent, oldest first; those for which there is no room are not taken. */
export class WaitingLines {
  readonly #maxBytes: number;
  #events: { readonly event: LogEvent; readonly bytes: number }[] = [];
  #bytes = 0;
  #lastTime = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get count(): number {
    return this.#events.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** False when there is no room for it. A clock that goes back is not followed: events must be in order. */
  add(line: string, nowMs: number): boolean {
    const message = fitting(line);
    const bytes = utf8Length(message) + eventOverhead;
    if (this.#bytes + bytes > this.#maxBytes) return false;
    this.#lastTime = Math.max(this.#lastTime, nowMs);
    this.#events.push({ event: { timestamp: this.#lastTime, message }, bytes });
    this.#bytes += bytes;
    return true;
  }

  /** As many of the oldest as one request may hold; they stay until they are removed. */
  batch(): readonly LogEvent[] {
    let bytes = 0;
    const fits = this.#events.slice(0, batchEvents).findIndex((one) => (bytes += one.bytes) > batchBytes);
    return this.#events.slice(0, fits < 0 ? batchEvents : fits).map(({ event }) => event);
  }

  /** Forgets so many of the oldest. */
  remove(count: number): void {
    for (const { bytes } of this.#events.slice(0, count)) this.#bytes -= bytes;
    this.#events = this.#events.slice(count);
  }
}

const encoder = new TextEncoder();

function utf8Length(text: string): number {
  return encoder.encode(text).length;
}

/** The line, or as much of it as one event may hold. */
function fitting(line: string): string {
  if (line.length * 3 <= eventBytes) return line;
  const bytes = encoder.encode(line);
  if (bytes.length <= eventBytes) return line;
  return new TextDecoder().decode(bytes.subarray(0, eventBytes - 4)).replace(/\uFFFD$/, "") + "…";
}
