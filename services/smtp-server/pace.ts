/** Reads every message may have, however little each brings. */
const freeReads = 64;
/** Beyond them, what a read must bring on average. */
const bytesPerRead = 2048;
const shortestMs = 2;
const longestMs = 64;

/**
 * Keeps the number of reads in proportion to a message's bytes: a client that sends a byte a packet is read less
 * often, so that its packets gather in the kernel. Times are milliseconds.
 */
export class Pace {
  #reads = 0;
  #bytes = 0;
  #waitMs = 0;
  #readyAt = 0;

  /** How long to read nothing after a read that brought so many bytes; 0 for every ordinary client. */
  after(bytes: number, now: number): number {
    this.#reads++;
    this.#bytes += bytes;
    const silentMs = now - this.#readyAt;
    this.#readyAt = now;
    if (this.#reads <= freeReads + this.#bytes / bytesPerRead) {
      this.#waitMs = Math.floor(this.#waitMs / 2);
      return 0;
    }
    // A client as slow as that costs nothing: whoever types must not wait for us.
    if (silentMs >= longestMs) return 0;
    this.#waitMs = Math.min(longestMs, Math.max(shortestMs, 2 * this.#waitMs));
    this.#readyAt = now + this.#waitMs;
    return this.#waitMs;
  }
}
