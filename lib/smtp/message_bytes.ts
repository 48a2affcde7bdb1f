import { Buffer } from "node:buffer";
import type { Body } from "../store/body.ts";
import { SmtpFailure } from "./failure.ts";

/** A message ready for DATA: its own bytes, dots doubled, ended by the line with the dot (RFC 5321 section 4.5.2). */
export interface OutgoingMessage {
  /** Octets as SIZE counts them (RFC 1870): without doubled dots and the last line. */
  readonly size: number;
  /** Whether the header section holds bytes above 127, which only SMTPUTF8 allows (RFC 6532). */
  hasRawHeader(): boolean;
  /** All of it, the last dot included, when it is small. */
  readonly wire?: Uint8Array;
  /** All of it in pieces, `isLast` with the last dot; fails with `bare_line_ending` before that piece. */
  pieces(): AsyncIterable<WirePiece>;
  /** Whether any byte is above 127. */
  hasEightBit(): Promise<boolean>;
}

/** A part of what is written after 354. */
export interface WirePiece {
  readonly bytes: Uint8Array;
  readonly isLast: boolean;
}

/** Bodies up to this size are encoded at once, larger ones piece by piece. */
const wholeLimit = 256 * 1024;
/** Longest header section that is looked through. */
const headerLimit = 1024 * 1024;

/** Reads a body's header section, leaves out the named fields (lower case) and keeps every other byte. */
export async function outgoingMessage(body: Body, dropped: ReadonlySet<string>): Promise<OutgoingMessage> {
  if (body.size <= wholeLimit) return wholeMessage(await body.bytes(), dropped);
  const head = await readHead(body);
  const headLength = headerLength(head);
  if (headLength === undefined && head.length > headerLimit) {
    throw new SmtpFailure("protocol_error", `Cannot send message: its header is above ${headerLimit} bytes`);
  }
  const original = head.subarray(0, headLength ?? head.length);
  const header = dropFields(original, dropped);
  return {
    size: body.size - original.length + header.length,
    hasRawHeader: () => hasHighByte(header),
    pieces: () => streamPieces(header, body, original.length),
    hasEightBit: async () => {
      for await (const chunk of body.stream()) if (hasHighByte(chunk)) return true;
      return false;
    },
  };
}

/** The same for bytes that are in memory; throws `bare_line_ending`. */
export function wholeMessage(bytes: Uint8Array, dropped: ReadonlySet<string>): OutgoingMessage {
  const headLength = headerLength(bytes) ?? bytes.length;
  const original = bytes.subarray(0, headLength);
  const header = dropFields(original, dropped);
  const stuffer = new DotStuffer();
  const parts = header.length === original.length
    ? [stuffer.push(bytes)]
    : [stuffer.push(header), stuffer.push(bytes.subarray(headLength))];
  const wire = Buffer.concat([...parts, stuffer.end()]);
  return {
    size: bytes.length - original.length + header.length,
    hasRawHeader: () => hasHighByte(header),
    wire,
    pieces: async function* () {
      yield await Promise.resolve({ bytes: wire, isLast: true });
    },
    hasEightBit: () => Promise.resolve(hasHighByte(bytes)),
  };
}

async function* streamPieces(header: Uint8Array, body: Body, skip: number): AsyncIterable<WirePiece> {
  const stuffer = new DotStuffer();
  yield { bytes: stuffer.push(header), isLast: false };
  let position = 0;
  for await (const chunk of body.stream()) {
    const from = Math.min(chunk.length, Math.max(0, skip - position));
    position += chunk.length;
    if (from < chunk.length) yield { bytes: stuffer.push(chunk.subarray(from)), isLast: false };
  }
  if (position !== body.size) {
    throw new Error(`Cannot send body: ${position} of ${body.size} bytes were read`);
  }
  yield { bytes: stuffer.end(), isLast: true };
}

/** The first bytes of a body, up to the end of its header section or a little above the limit. */
async function readHead(body: Body): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  // A message may begin with the empty line.
  let tail = Buffer.from("\r\n", "latin1");
  for await (const chunk of body.stream()) {
    chunks.push(chunk);
    length += chunk.length;
    tail = Buffer.concat([tail.subarray(-3), chunk]);
    if (length > headerLimit || tail.includes("\r\n\r\n", 0, "latin1")) break;
  }
  return Buffer.concat(chunks);
}

/** Length of the header section with its empty line; undefined when no empty line is there. */
function headerLength(bytes: Uint8Array): number | undefined {
  if (bytes[0] === 13 && bytes[1] === 10) return 2;
  const end = asBuffer(bytes).indexOf("\r\n\r\n", 0, "latin1");
  return end < 0 ? undefined : end + 4;
}

/** The header section without the fields of these names (lower case), folded lines included. */
export function dropFields(header: Uint8Array, names: ReadonlySet<string>): Uint8Array {
  const text = asBuffer(header).toString("latin1");
  const fields = text.split(/(?<=\r\n)(?![ \t])/);
  const kept = fields.filter((field) => !names.has(fieldName(field)));
  return kept.length === fields.length ? header : Buffer.from(kept.join(""), "latin1");
}

function fieldName(field: string): string {
  const colon = field.indexOf(":");
  return colon < 0 ? "" : field.slice(0, colon).trimEnd().toLowerCase();
}

/** Doubles dots at line beginnings over pieces of any size; fails with `bare_line_ending` where CR or LF stand alone. */
export class DotStuffer {
  /** What came before and decides about the next byte: a line end, a CR alone, or nothing of note. */
  #before: "\r\n" | "\r" | "" = "\r\n";

  /** The piece with its dots doubled; the piece itself when there is nothing to double. */
  push(piece: Uint8Array): Uint8Array {
    // Regular expressions over a string of bytes are several times as fast as a loop over the bytes.
    const text = this.#before + asBuffer(piece).toString("latin1");
    const found = bareLineEnding.exec(text);
    if (found !== null) throw bareFailure(found[0] === "\n" ? "LF" : "CR");
    const skip = this.#before.length;
    this.#before = text.endsWith("\n") ? "\r\n" : text.endsWith("\r") ? "\r" : "";
    return text.includes("\n.") ? Buffer.from(text.replaceAll("\n.", "\n..").slice(skip), "latin1") : piece;
  }

  /** What ends the message: a line end when the last line has none, then the line with the dot. */
  end(): Uint8Array {
    if (this.#before === "\r") throw bareFailure("CR");
    return Buffer.from(this.#before === "" ? "\r\n.\r\n" : ".\r\n", "latin1");
  }
}

/** A CR without LF, unless the piece ends there, or an LF without CR. */
const bareLineEnding = /\r(?!\n|$)|(?<!\r)\n/;

function bareFailure(which: string): SmtpFailure {
  // A receiver that takes a lone CR or LF for a line end could be made to see a second message.
  return new SmtpFailure(
    "bare_line_ending",
    `Cannot send message: it holds a ${which} that is not part of CRLF`,
  );
}

function hasHighByte(bytes: Uint8Array): boolean {
  for (let index = 0; index < bytes.length; index++) if ((bytes[index] ?? 0) > 127) return true;
  return false;
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
