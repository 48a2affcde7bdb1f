import { Buffer } from "node:buffer";
import { latin1Bytes } from "../mime/latin1.ts";
import { openOutgoing, outgoingOf } from "../mime/outgoing.ts";
import type { Outgoing } from "../mime/outgoing.ts";
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

/** Reads a body's header section, leaves out the named fields (lower case) and keeps every other byte. */
export async function outgoingMessage(body: Body, dropped: Iterable<string>): Promise<OutgoingMessage> {
  const outgoing = await openOutgoing(body, { dropped: [...dropped] });
  if (outgoing.whole !== undefined) return wireMessage(outgoing, outgoing.whole);
  return {
    size: outgoing.size,
    hasRawHeader: () => hasHighByte(outgoing.header),
    pieces: () => streamPieces(outgoing),
    hasEightBit: async () => {
      for await (const chunk of outgoing.stream()) if (hasHighByte(chunk)) return true;
      return false;
    },
  };
}

/** The same for bytes that are in memory; throws `bare_line_ending`. */
export function wholeMessage(bytes: Uint8Array, dropped: Iterable<string>): OutgoingMessage {
  const outgoing = outgoingOf(bytes, { dropped: [...dropped] });
  return wireMessage(outgoing, outgoing.whole);
}

function wireMessage(outgoing: Outgoing, whole: Uint8Array): OutgoingMessage {
  const stuffer = new DotStuffer();
  const wire = Buffer.concat([stuffer.push(whole), stuffer.end()]);
  return {
    size: outgoing.size,
    hasRawHeader: () => hasHighByte(outgoing.header),
    wire,
    pieces: async function* () {
      yield await Promise.resolve({ bytes: wire, isLast: true });
    },
    hasEightBit: () => Promise.resolve(hasHighByte(whole)),
  };
}

async function* streamPieces(outgoing: Outgoing): AsyncIterable<WirePiece> {
  const stuffer = new DotStuffer();
  for await (const piece of outgoing.stream()) yield { bytes: stuffer.push(piece), isLast: false };
  yield { bytes: stuffer.end(), isLast: true };
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
    return text.includes("\n.") ? latin1Bytes(text.replaceAll("\n.", "\n..").slice(skip)) : piece;
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
