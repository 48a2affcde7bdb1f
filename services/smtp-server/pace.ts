/** Reads every message may have, however little each brings. */
const freeReads = 64;
/** Beyond them, what a read must bring on average. */
const bytesPerRead = 2048;
const shortestMs = 2;
const longestMs = 64;

/** How long one connection's message may occupy the event loop before others get their turn, in ms. */
const longestTurnMs = 1;
/** What a read costs beside our own work on it: system calls, decryption, streams. */
const readMs = 0.04;
/** What one of few bytes counts, from the ninth on: under TLS it may be one of 2,800 records. */
const smallReadMs = 0.25;
const smallRead = 4096;
const quickReads = 8;
/** A timer, however short, lets the event loop look at all sockets; what is merely put off does not. */
const turnMs = 1;

/**
 * Says when a message's sender is to be left alone. After each millisecond of work others have their turn; and reads
 * stay in proportion to bytes: who sends a byte a packet is read less often, so that packets gather in the kernel.
 */
export class Pace {
  #reads = 0;
  #bytes = 0;
  #inTurnMs = 0;
  #waitMs = 0;
  #readyAt = 0;

  /** Milliseconds to read nothing after a read of so many bytes that was worked on until `now`; 0 most often. */
  after(bytes: number, workedMs: number, now: number): number {
    this.#reads++;
    this.#bytes += bytes;
    const gatherMs = this.#gather(now);
    const isDear = bytes < smallRead && this.#reads > quickReads;
    this.#inTurnMs += (isDear ? smallReadMs : readMs) + workedMs;
    if (gatherMs === 0 && this.#inTurnMs < longestTurnMs) return 0;
    this.#inTurnMs = 0;
    const ms = Math.max(gatherMs, turnMs);
    this.#readyAt = now + ms;
    return ms;
  }

  #gather(now: number): number {
    const silentMs = now - this.#readyAt;
    this.#readyAt = now;
    if (this.#reads <= freeReads + this.#bytes / bytesPerRead) {
      this.#waitMs = Math.floor(this.#waitMs / 2);
      return 0;
    }
    // A client as slow as that costs nothing: whoever types must not wait for us.
    if (silentMs >= longestMs) return 0;
    this.#waitMs = Math.min(longestMs, Math.max(shortestMs, 2 * this.#waitMs));
    return this.#waitMs;
  }
}
