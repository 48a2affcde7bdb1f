/** JSON that is written piece by piece into one array of bytes, for requests that carry whole messages. */
export class JsonBytes {
  readonly #encoder = new TextEncoder();
  #bytes: Uint8Array<ArrayBuffer>;
  #length = 0;

  /** Grows above its first capacity, at the price of a copy; arrays that were given out before are then empty. */
  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }

  /** Takes text that is JSON already. */
  raw(text: string): void {
    this.#reserve(text.length);
    let rest = text;
    for (;;) {
      const { read, written } = this.#encoder.encodeInto(rest, this.#bytes.subarray(this.#length));
      this.#length += written;
      if (read === rest.length) return;
      rest = rest.slice(read);
      this.#reserve(3 * rest.length);
    }
  }

  /** A piece of a string, without quotes around it. */
  escaped(text: string): void {
    this.raw(JSON.stringify(text).slice(1, -1));
  }

  /** All that was written; a view, not a copy. */
  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.subarray(0, this.#length);
  }

  #reserve(more: number): void {
    const needed = this.#length + more;
    if (needed <= this.#bytes.length) return;
    // What was there before is freed at once.
    const larger = Math.max(needed, Math.ceil(this.#bytes.length * 1.3));
    this.#bytes = new Uint8Array(this.#bytes.buffer.transfer(larger));
  }
}

/** Base64 of pieces that belong together, in pieces; as a whole it has padding at its end alone. */
export function* base64Of(pieces: Iterable<Uint8Array>): Generator<string> {
  let rest: Uint8Array = new Uint8Array(0);
  for (const piece of pieces) {
    let bytes = piece;
    if (rest.length > 0) {
      bytes = new Uint8Array(rest.length + piece.length);
      bytes.set(rest);
      bytes.set(piece, rest.length);
    }
    const whole = bytes.length - (bytes.length % 3);
    if (whole > 0) yield bytes.subarray(0, whole).toBase64();
    rest = bytes.slice(whole);
  }
  if (rest.length > 0) yield rest.toBase64();
}
