import { Buffer } from "node:buffer";
import type { Body } from "../store/body.ts";
import { editHeader } from "./header_edits.ts";
import type { HeaderEdits } from "./header_edits.ts";

/** A message as it goes to an email service: its header section edited, every other byte as it was sent. */
export interface Outgoing {
  /** In bytes, after the edits. */
  readonly size: number;
  /** The edited header section, its blank line included where there is one. */
  readonly header: Uint8Array;
  /** All of it, when it was small enough to be read at once. */
  readonly whole?: Uint8Array;
  /** All of it in one array of `size` bytes; reserve the memory first. Throws as `stream` does. */
  bytes(): Promise<Uint8Array>;
  /** All of it in pieces, as often as it is asked for; fails when the body ends too early or is damaged. */
  stream(): AsyncIterable<Uint8Array>;
}

/** A header section that is too long to be looked through. */
export class HeaderTooLong extends Error {
  override readonly name = "HeaderTooLong";
}

/** Bodies up to this size are read at once, larger ones piece by piece. */
const wholeLimit = 256 * 1024;
/** Longest header section of a large body that is looked through. */
const headerLimit = 1024 * 1024;

/** Reads a body's header section and edits it; throws `HeaderTooLong` above 1 MiB, and what reading throws. */
export async function openOutgoing(body: Body, edits: HeaderEdits): Promise<Outgoing> {
  if (body.size <= wholeLimit) return outgoingOf(await body.bytes(), edits);
  const head = await readHead(body);
  const length = headerLength(head);
  if (length === undefined && head.length > headerLimit) {
    throw new HeaderTooLong(`Cannot send message: its header is above ${headerLimit} bytes`);
  }
  const original = head.subarray(0, length ?? head.length);
  const header = editHeader(original, edits);
  const size = body.size - original.length + header.length;
  const stream = () => editedStream(header, body, original.length);
  return { size, header, stream, bytes: () => gathered(stream(), size) };
}

/** The same for bytes that are in memory. */
export function outgoingOf(
  bytes: Uint8Array,
  edits: HeaderEdits,
): Outgoing & { readonly whole: Uint8Array } {
  const length = headerLength(bytes) ?? bytes.length;
  const original = bytes.subarray(0, length);
  const header = editHeader(original, edits);
  const whole = header === original ? bytes : Buffer.concat([header, bytes.subarray(length)]);
  return {
    size: whole.length,
    header,
    whole,
    bytes: () => Promise.resolve(whole),
    stream: async function* () {
      yield await Promise.resolve(whole);
    },
  };
}

async function* editedStream(header: Uint8Array, body: Body, skip: number): AsyncIterable<Uint8Array> {
  yield header;
  let position = 0;
  for await (const chunk of body.stream()) {
    const from = Math.min(chunk.length, Math.max(0, skip - position));
    position += chunk.length;
    if (from < chunk.length) yield chunk.subarray(from);
  }
  if (position !== body.size) {
    throw new Error(`Cannot send body: ${position} of ${body.size} bytes were read`);
  }
}

async function gathered(pieces: AsyncIterable<Uint8Array>, size: number): Promise<Uint8Array> {
  const all = new Uint8Array(size);
  let at = 0;
  for await (const piece of pieces) {
    if (at + piece.length > size) throw new Error(`Cannot send body: it has more than ${size} bytes`);
    all.set(piece, at);
    at += piece.length;
  }
  return all;
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
  const end = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf("\r\n\r\n", 0, "latin1");
  return end < 0 ? undefined : end + 4;
}
