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
const ended = 5;
const afterNul = 6;

/**
 * Finds the one true end of DATA, `CR LF . CR LF` (RFC 5321 section 4.5.2), over chunks cut anywhere, removes stuffed
 * dots and counts every sequence that another server could take for an end: bare CR, bare LF, a dot beside NUL.
 * Each byte is looked at once, so the cost does not depend on the message's shape.
 */
export class LineGuard {
  readonly #repairs: boolean;
  #state = lineStart;
  /** Where a line of the repaired content is: `lineStart`, `afterNul` or `midLine`. */
  #repairedState = lineStart;
  #flaws = 0;

  /** With `repair`, bare CR and bare LF are CR LF in what `take` gives, and no flaws; the end mark is as strict as ever. */
  constructor(mode: "refuse" | "repair") {
    this.#repairs = mode === "repair";
  }

  /** Sequences seen so far that may not be passed on as they are. */
  get flaws(): number {
    return this.#flaws;
  }

  /** Takes a chunk from the given position on. */
  take(chunk: Uint8Array, from: number): Taken {
    return this.#repairs ? this.#takeRepaired(chunk, from) : this.#takeInPlace(chunk, from);
  }

  #takeInPlace(chunk: Uint8Array, from: number): Taken {
    const skip = plainSkipper(chunk);
    let state = this.#state;
    let flaws = 0;
    let next = -1;
    // Content is written down to `out`; the run from `run` to `read` is content still to be moved there.
    let out = from;
    let run = from;
    let read = from;
    for (; read < chunk.length; read++) {
      if (state === midLine) {
        read = skip(read);
        if (read === chunk.length) break;
      }
      const byte = chunk[read] ?? 0;
      const before: number = state;
      state = nextState(before, byte);
      if (isFlaw(before, byte)) flaws++;
      if (state === ended) {
        next = read + 1;
        state = lineStart;
        break;
      }
      // The dot at a line's start, and the CR after it, are no content (unless flawed, and then nothing is kept).
      if (state === afterDot || state === afterDotCr) {
        out = moved(chunk, out, run, read);
        run = read + 1;
      }
    }
    if (next < 0) out = moved(chunk, out, run, read);
    this.#state = state;
    this.#flaws += flaws;
    return { content: chunk.subarray(from, out), next };
  }

  #takeRepaired(chunk: Uint8Array, from: number): Taken {
    const repaired = new Uint8Array(2 * (chunk.length - from) + 2);
    let out = 0;
    for (let read = from; read < chunk.length; read++) {
      const byte = chunk[read] ?? 0;
      const before = this.#state;
      const state = nextState(before, byte);
      if (this.#isFlawInRepaired(before, state, byte)) this.#flaws++;
      this.#state = state === ended ? lineStart : state;
      if (state === ended) return { content: repaired.subarray(0, out), next: read + 1 };
      if (byte !== LF && (before === afterCr || before === afterDotCr)) {
        // The CR before was bare; after a dot it has not been written yet.
        if (before === afterDotCr) repaired[out++] = CR;
        repaired[out++] = LF;
      }
      if (state === afterDot || state === afterDotCr) continue;
      if (byte === LF && before !== afterCr) repaired[out++] = CR;
      repaired[out++] = byte;
    }
    return { content: repaired.subarray(0, out), next: -1 };
  }

  /** Only a dot beside NUL cannot be repaired; every CR and LF ends a line by now. */
  #isFlawInRepaired(before: number, state: number, byte: number): boolean {
    if (state === afterDot) return false; // is no content
    const line = this.#repairedState;
    if (byte === CR || byte === LF) this.#repairedState = lineStart;
    else this.#repairedState = byte === NUL && line !== midLine ? afterNul : midLine;
    return isDotBesideNul(before, byte) || isDotBesideNul(line, byte);
  }
}

function nextState(state: number, byte: number): number {
  if (byte === LF) return state === afterCr ? lineStart : state === afterDotCr ? ended : midLine;
  if (byte === CR) return state === afterDot ? afterDotCr : afterCr;
  if (byte === NUL && (state === lineStart || state === afterNul)) return afterNul;
  return byte === DOT && state === lineStart ? afterDot : midLine;
}

function isFlaw(state: number, byte: number): boolean {
  if (byte === LF) return state !== afterCr && state !== afterDotCr;
  return state === afterCr || state === afterDotCr || isDotBesideNul(state, byte);
}

/** Whoever drops NUL sees a line that begins with a dot. */
function isDotBesideNul(state: number, byte: number): boolean {
  return (state === afterDot && byte === NUL) || (state === afterNul && byte === DOT);
}

/** Moves the bytes from `run` to `end` down to `out`, and answers where they end there. */
function moved(chunk: Uint8Array, out: number, run: number, end: number): number {
  const length = end - run;
  if (out === run || length === 0) return out + length;
  // A call costs more than a few bytes do, and a message of dots has nothing but short runs.
  if (length > 32) chunk.copyWithin(out, run, end);
  else for (let at = 0; at < length; at++) chunk[out + at] = chunk[run + at] ?? 0;
  return out + length;
}

/**
 * Finds the next CR or LF that is more than the end of a line before an ordinary one, sixteen bytes at a time; the
 * chunk's length when there is none.
 */
function plainSkipper(chunk: Uint8Array): (from: number) => number {
  const { length, byteOffset } = chunk;
  const shift = byteOffset & 3;
  const words = new Int32Array(chunk.buffer, byteOffset - shift, (shift + length) >> 2);
  const lastFour = words.length - 4;
  return (from) => {
    for (let at = from;;) {
      // Byte by byte to where a word begins, and through the last words.
      let word = (at + shift + 3) >> 2;
      const edge = word <= lastFour ? (word << 2) - shift : length;
      while (at < edge && !isBreak(chunk[at] ?? 0)) at++;
      if (at === edge) {
        if (edge === length) return length;
        while (word <= lastFour && areHigh(words, word)) word += 4;
        at = (word << 2) - shift;
        if (word > lastFour) continue;
        let marks = lowMarks(words, word);
        while (marks === 0) marks = lowMarks(words, ++word);
        at = (word << 2) - shift + ((31 - Math.clz32(marks & -marks)) >> 3);
      }
      if (!isBreak(chunk[at] ?? 0)) at++;
      else if (isPlainEnd(chunk, at)) at += 3;
      else return at;
    }
  };
}

function isBreak(byte: number): boolean {
  return byte === CR || byte === LF;
}

/** CR LF and the first byte of a line that is neither empty nor begins with a dot or NUL. */
function isPlainEnd(chunk: Uint8Array, at: number): boolean {
  if (chunk[at] !== CR || chunk[at + 1] !== LF || at + 2 >= chunk.length) return false;
  const next = chunk[at + 2] ?? 0;
  return next !== DOT && next !== NUL && !isBreak(next);
}

/** No byte of four words is below 14. */
function areHigh(words: Int32Array, at: number): boolean {
  const first = lowMarks(words, at) | lowMarks(words, at + 1);
  return (first | lowMarks(words, at + 2) | lowMarks(words, at + 3)) === 0;
}

/** Bit 7 of each byte of a word that is below 14; those above the lowest such byte may be marked without being so. */
function lowMarks(words: Int32Array, at: number): number {
  const word = words[at] ?? 0;
  return (word - 0x0e0e0e0e) & ~word & 0x80808080;
}
