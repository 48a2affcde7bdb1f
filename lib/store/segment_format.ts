import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import type { BodyLabel } from "./message_store.ts";

// A record of a segment, all numbers big-endian:
//   8 magic  4 label's size  4 label's CRC-32  |  label, JSON  |
//   8 magic  8 body's size   8 stored at (ms)  32 SHA-256  4 CRC-32 of these 56 bytes  4 zero  |  body
// What a reader needs stands right before the body, so that one read of a small body gets it too.

/** Bytes in front of a label. */
export const prefixSize = 16;
/** Bytes between a label and its body. */
export const fixedSize = 64;
/** The longest label that is written or believed. */
export const maxLabelSize = 4 << 20;

const prefixMagic = Uint8Array.of(0x93, 0x73, 0x6d, 0x74, 0x70, 0x6c, 0x62, 0x01);
const fixedMagic = Uint8Array.of(0x93, 0x73, 0x6d, 0x74, 0x70, 0x62, 0x64, 0x01);

/** What is written before a body besides its label. */
export interface BodyFacts {
  readonly size: number;
  readonly sha256: Uint8Array;
  readonly storedAtMs: number;
}

/** Everything that stands before a body; its size depends on the label alone. */
export function encodeHeader(label: BodyLabel, facts: BodyFacts): Uint8Array {
  const text = encodeLabel(label);
  // Out of a pool, so that not every message makes buffers of its own; all of it is written below.
  const header = Buffer.allocUnsafe(prefixSize + text.length + fixedSize);
  const view = new DataView(header.buffer, header.byteOffset);
  header.set(prefixMagic);
  view.setUint32(8, text.length);
  view.setUint32(12, crc32(text));
  header.set(text, prefixSize);
  const at = prefixSize + text.length;
  header.set(fixedMagic, at);
  view.setBigUint64(at + 8, BigInt(facts.size));
  view.setBigUint64(at + 16, BigInt(facts.storedAtMs));
  header.set(facts.sha256, at + 24);
  view.setUint32(at + 56, crc32(header.subarray(at, at + 56)));
  view.setUint32(at + 60, 0);
  return header;
}

/** The size that `encodeHeader` will have. */
export function headerSize(label: BodyLabel): number {
  return prefixSize + encodeLabel(label).length + fixedSize;
}

function encodeLabel({ id, group, user, mailFrom, recipients }: BodyLabel): Uint8Array {
  const text = Buffer.from(JSON.stringify({ id, group, user, mailFrom, recipients }));
  if (text.length <= maxLabelSize) return text;
  throw new Error(`Cannot store a body with its envelope: the envelope has ${text.length} bytes`);
}

/** The size and checksum of the label that follows, or undefined where no record begins. */
export function parsePrefix(bytes: Uint8Array): { readonly size: number; readonly crc: number } | undefined {
  if (bytes.length < prefixSize || !startsWith(bytes, prefixMagic)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const size = view.getUint32(8);
  return size <= maxLabelSize ? { size, crc: view.getUint32(12) } : undefined;
}

/** The label, or undefined when it is damaged. */
export function parseLabel(bytes: Uint8Array, crc: number): BodyLabel | undefined {
  if (crc32(bytes) !== crc) return undefined;
  // The checksum vouches that it is what encodeLabel wrote.
  return JSON.parse(new TextDecoder().decode(bytes)) as BodyLabel;
}

/** The facts of the body that follows, or undefined when they are damaged. */
export function parseFixed(bytes: Uint8Array): BodyFacts | undefined {
  if (bytes.length < fixedSize || !startsWith(bytes, fixedMagic)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  if (crc32(bytes.subarray(0, 56)) !== view.getUint32(56)) return undefined;
  return {
    size: Number(view.getBigUint64(8)),
    storedAtMs: Number(view.getBigUint64(16)),
    sha256: bytes.slice(24, 56),
  };
}

/** Whether a record seems to begin somewhere in these bytes. */
export function hasRecord(bytes: Uint8Array): boolean {
  for (let at = bytes.indexOf(0x93); at !== -1; at = bytes.indexOf(0x93, at + 1)) {
    if (startsWith(bytes.subarray(at), prefixMagic)) return true;
  }
  return false;
}

function startsWith(bytes: Uint8Array, magic: Uint8Array): boolean {
  return bytes.length >= magic.length && magic.every((byte, index) => bytes[index] === byte);
}
