/** What `LineGuard.take` made of a chunk. */
export interface Taken {
  /** The message's bytes, stuffed dots removed; a view into the chunk, which may have been rewritten in place. */
  readonly content: Uint8Array;
  /** Where the chunk goes on after the end mark; -1 while the message has not ended. */
  readonly next: number;
}

const NUL = 0;
const LF = 10;
const CR = 13;
const DOT = 46;

const lineStart = 0;
const midLine = 1;
const afterCr = 2;
const afterDot = 3;
const afterDotCr = 4;

/**
 * Finds the one true end of DATA, `CR LF . CR LF` (RFC 5321 section 4.5.2), over chunks cut anywhere, removes stuffed
 * dots and counts every sequence that another server could take for an end: bare CR, bare LF, a dot before NUL.
 * Each byte is looked at once, so the cost does not depend on the message's shape.
 */
export class LineGuard {
  readonly #repairs: boolean;
  #state = lineStart;
  #flaws = 0;

  /** With `repair`, bare CR and bare LF become CR LF in what `take` gives; the end mark is as strict as ever. */
  constructor(mode: "refuse" | "repair") {
    this.#repairs = mode === "repair";
  }

  /** Sequences seen so far that may not be passed on as they are. */
  get flaws(): number {
    return this.#flaws;
  }

  /** Takes a chunk from the given position on. */
  take(chunk: Uint8Array, from: number): Taken {
    const length = chunk.length;
    const repairs = this.#repairs;
    const target = repairs ? new Uint8Array(2 * (length - from) + 2) : chunk;
    const start = repairs ? 0 : from;
    let out = start;
    let state = this.#state;
    for (let read = from; read < length; read++) {
      const byte = chunk[read] ?? 0;
      if (state === midLine && byte !== CR && byte !== LF) {
        target[out++] = byte;
        continue;
      }
      switch (state) {
        case afterCr:
          if (byte === LF) {
            target[out++] = byte;
            state = lineStart;
            continue;
          }
          this.#flaws++;
          if (repairs) target[out++] = LF;
          state = midLine;
          break;
        case afterDotCr:
          if (byte === LF) {
            this.#state = lineStart;
            return { content: target.subarray(start, out), next: read + 1 };
          }
          this.#flaws++;
          if (repairs) {
            target[out++] = CR;
            target[out++] = LF;
          }
          state = midLine;
          break;
        case afterDot:
          if (byte === CR) {
            state = afterDotCr;
            continue;
          }
          if (byte === NUL) this.#flaws++;
          state = midLine;
          break;
        case lineStart:
          if (byte === DOT) {
            state = afterDot;
            continue;
          }
          state = midLine;
      }
      if (byte === LF) {
        this.#flaws++;
        if (repairs) target[out++] = CR;
      } else if (byte === CR) {
        state = afterCr;
      }
      target[out++] = byte;
    }
    this.#state = state;
    return { content: target.subarray(start, out), next: -1 };
  }
}
