import { isUtf8 } from "node:buffer";

/**
 * Bytes as text, in pieces. A charset nobody knows, none, and US-ASCII with bytes that it lacks are taken for UTF-8
 * where the bytes are that, else for Windows-1252, which old clients mean; what cannot be decoded becomes U+FFFD.
 */
export function* decodedText(
  pieces: () => Iterable<Uint8Array>,
  charset: string | undefined,
): Generator<string> {
  const label = charset?.trim().toLowerCase() ?? "";
  if (/^(unicode-1-1-)?utf-?7$/.test(label)) yield decodeUtf7(latin1(pieces()));
  else {yield* streamed(
      pieces(),
      (isVague(label) ? undefined : decoderFor(label)) ?? guessedDecoder(pieces()),
    );}
}

function guessedDecoder(pieces: Iterable<Uint8Array>): TextDecoder {
  const watch = new Utf8Watch();
  for (const piece of pieces) {
    watch.look(piece);
    if (!watch.isUtf8) break;
  }
  return new TextDecoder(watch.isWhole ? "utf-8" : "windows-1252");
}

/** Sees whether bytes that come in pieces are UTF-8. */
export class Utf8Watch {
  #rest: Uint8Array = new Uint8Array(0);
  /** So far; a character may still be open. */
  isUtf8 = true;

  /** All that was looked at is UTF-8, and no character is open. */
  get isWhole(): boolean {
    return this.isUtf8 && this.#rest.length === 0;
  }

  look(piece: Uint8Array): void {
    if (!this.isUtf8) return;
    let bytes = piece;
    if (this.#rest.length > 0) {
      bytes = new Uint8Array(this.#rest.length + piece.length);
      bytes.set(this.#rest);
      bytes.set(piece, this.#rest.length);
    }
    const end = bytes.length - openBytes(bytes);
    this.isUtf8 = isUtf8(bytes.subarray(0, end));
    this.#rest = bytes.slice(end);
  }
}

/** How many bytes at the end begin a character that goes on. */
function openBytes(bytes: Uint8Array): number {
  for (let count = 1; count <= Math.min(3, bytes.length); count++) {
    const byte = bytes[bytes.length - count] ?? 0;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return count < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? count : 0;
  }
  return 0;
}

function* streamed(pieces: Iterable<Uint8Array>, decoder: TextDecoder): Generator<string> {
  for (const piece of pieces) {
    const text = decoder.decode(piece, { stream: true });
    if (text !== "") yield text;
  }
  const rest = decoder.decode();
  if (rest !== "") yield rest;
}

function isVague(label: string): boolean {
  return label === "" || label === "us-ascii" || label === "ascii" || label === "unknown-8bit" ||
    label === "8bit";
}

function decoderFor(label: string): TextDecoder | undefined {
  try {
    return new TextDecoder(label);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function latin1(pieces: Iterable<Uint8Array>): string {
  const decoder = new TextDecoder("windows-1252");
  let text = "";
  for (const piece of pieces) text += decoder.decode(piece);
  return text;
}

/** RFC 2152: runs of base64 between + and - are UTF-16. */
function decodeUtf7(text: string): string {
  return text.replace(/\+([A-Za-z0-9+/]*)-?/g, (whole, run: string) => {
    if (run === "") return whole.endsWith("-") ? "+" : whole;
    const bytes = Uint8Array.fromBase64(run.slice(0, run.length - (run.length % 4 === 1 ? 1 : 0)), {
      lastChunkHandling: "loose",
    });
    return new TextDecoder("utf-16be").decode(bytes.subarray(0, bytes.length & ~1));
  });
}
