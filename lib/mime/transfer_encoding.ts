import { Buffer } from "node:buffer";

const pieceLength = 192 * 1024;
const LF = 10;
const CR = 13;
const EQUALS = 61;

/** The bytes behind a Content-Transfer-Encoding, in pieces of about 200 KB; an encoding nobody knows changes nothing. */
export function decodedPieces(bytes: Uint8Array, encoding: string): Generator<Uint8Array> {
  if (encoding === "base64") return base64Pieces(bytes);
  if (encoding === "quoted-printable") return quotedPrintablePieces(bytes);
  return plainPieces(bytes);
}

function* plainPieces(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceLength) yield bytes.subarray(at, at + pieceLength);
}

function* base64Pieces(bytes: Uint8Array): Generator<Uint8Array> {
  let rest = "";
  for (let at = 0; at < bytes.length; at += pieceLength) {
    const text = rest + latin1(bytes, at, at + pieceLength);
    const target = new Uint8Array(Math.ceil(text.length / 4) * 3);
    try {
      const { read, written } = target.setFromBase64(text, { lastChunkHandling: "stop-before-partial" });
      rest = text.slice(read);
      if (written > 0) yield target.subarray(0, written);
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      // What is no base64 in between is skipped, as RFC 2045 section 6.8 says.
      const found = lenient(text);
      rest = found.rest;
      if (found.bytes.length > 0) yield found.bytes;
    }
  }
  const last = lenient(rest, true).bytes;
  if (last.length > 0) yield last;
}

/** Base64 with other characters in it, or several pieces one after the other, each with its padding. */
function lenient(text: string, isLast = false): { readonly bytes: Uint8Array; readonly rest: string } {
  const runs = text.replace(/[^A-Za-z0-9+/=]+/g, "").split(/=+/);
  const parts = runs.map((run, index) => {
    const isOpen = index === runs.length - 1 && !isLast;
    const length = isOpen ? run.length - (run.length % 4) : run.length - (run.length % 4 === 1 ? 1 : 0);
    return Buffer.from(run.slice(0, length), "base64");
  });
  const last = runs.at(-1) ?? "";
  return { bytes: Buffer.concat(parts), rest: isLast ? "" : last.slice(last.length - (last.length % 4)) };
}

/** RFC 2045 section 6.7; an equals sign that begins nothing stands for itself. */
function* quotedPrintablePieces(bytes: Uint8Array): Generator<Uint8Array> {
  // What is decoded is never longer.
  let target = new Uint8Array(Math.min(pieceLength, bytes.length));
  let length = 0;
  for (let start = 0; start < bytes.length;) {
    // A line that is longer than a piece is taken in several, which end where no equals sign is cut off.
    const newline = bytes.subarray(start, start + pieceLength / 2).indexOf(LF);
    const next = newline < 0 ? cutOff(bytes, start) : start + newline + 1;
    if (length + (next - start) > target.length) {
      yield target.subarray(0, length);
      target = new Uint8Array(Math.min(pieceLength, bytes.length - start));
      length = 0;
    }
    length = decodeLine(bytes, start, next, target, length);
    start = next;
  }
  if (length > 0) yield target.subarray(0, length);
}

function cutOff(bytes: Uint8Array, start: number): number {
  const end = Math.min(bytes.length, start + pieceLength / 2);
  if (end === bytes.length) return end;
  const equals = bytes.subarray(end - 2, end).indexOf(EQUALS);
  return equals < 0 ? end : end - 2 + equals;
}

/** Decodes one line, its end included, and answers how far the target is filled. */
function decodeLine(
  bytes: Uint8Array,
  start: number,
  next: number,
  target: Uint8Array,
  filled: number,
): number {
  let end = next;
  let breakLength = 0;
  if (bytes[end - 1] === LF) {
    breakLength = bytes[end - 2] === CR && end - 2 >= start ? 2 : 1;
    end -= breakLength;
    // White space at the end of a line was added on the way.
    while (end > start && (bytes[end - 1] === 32 || bytes[end - 1] === 9)) end--;
    if (end > start && bytes[end - 1] === EQUALS) {
      end--;
      breakLength = 0;
    }
  } else if (next === bytes.length && bytes[end - 1] === EQUALS) end--;
  let length = filled;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    const high = byte === EQUALS && at + 2 < end ? hexValue(bytes[at + 1]) : -1;
    const low = high < 0 ? -1 : hexValue(bytes[at + 2]);
    if (low >= 0) {
      target[length++] = high * 16 + low;
      at += 2;
      continue;
    }
    target[length++] = byte;
  }
  for (let at = next - breakLength; at < next; at++) target[length++] = bytes[at] ?? 0;
  return length;
}

function hexValue(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 48 && byte <= 57) return byte - 48;
  const upper = byte & 0xdf;
  return upper >= 65 && upper <= 70 ? upper - 55 : -1;
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  const end = Math.min(to, bytes.length);
  return Buffer.from(bytes.buffer, bytes.byteOffset + from, end - from).toString("latin1");
}
