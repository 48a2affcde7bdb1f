/** Reads every message may have, however little each brings. */
const freeReads = 64;
/** Beyond them, what a read must bring on average. */
const bytesPerRead = 2048;
const shortestMs = 2;
const longestMs = 64;

/** Bytes of a message after which other connections get their turn. */
const bytesPerTurn = 131_072;
/** What a read counts at least, from the ninth on: under TLS a read of few bytes may be one of 2,800 records. */
const leastPerRead = 32_768;
const quickReads = 8;
/** A timer, however short, lets the event loop look at all sockets; what is merely put off does not. */
const turnMs = 1;

/**
 * Says when a message's sender is to be left alone. After each 128 KiB others have their turn; and reads stay in
 * proportion to bytes: who sends a byte a packet is read less often, so that packets gather in the kernel.
 */
export class Pace {
  #reads = 0;
  #bytes = 0;
  #inTurn = 0;
  #waitMs = 0;
  #readyAt = 0;

  /** Milliseconds to read nothing after a read that brought so many bytes, at `now`; 0 most often. */
  after(bytes: number, now: number): number {
    this.#reads++;
    this.#bytes += bytes;
    const gatherMs = this.#gather(now);
    this.#inTurn += this.#reads <= quickReads ? bytes : Math.max(bytes, leastPerRead);
    const isOver = this.#inTurn >= bytesPerTurn;
    if (gatherMs === 0 && !isOver) return 0;
    this.#inTurn = 0;
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
