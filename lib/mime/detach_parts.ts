import { Buffer } from "node:buffer";
import { endOfHeader } from "./headers.ts";
import { childrenOf, decodeContent, readFields } from "./part_structure.ts";
import type { Child, PartFields } from "./part_structure.ts";

/** A part that was taken out of a message. */
export interface DetachedPart {
  /** Never empty, without path and control characters, at most 255 characters. */
  readonly name: string;
  /** Type and subtype, with the charset of a text. */
  readonly contentType: string;
  /** Without angle brackets. */
  readonly contentId?: string;
  /** It is shown within the text instead of being offered beside it. */
  readonly isInline: boolean;
  /** Decodes it. */
  content(): Uint8Array;
}

/** A message without some of its parts, and these. */
export interface SplitMessage {
  readonly rest: Uint8Array;
  readonly parts: readonly DetachedPart[];
}

const deepest = 20;
const mostParts = 10_000;
const longestHeader = 64 * 1024;

/**
 * Takes attachments and images out of a message, the largest first, until `target` bytes or less are left of it, none
 * can be taken or `most` were. Texts, and what a signature covers, stay.
 */
export function detachParts(message: Uint8Array, target: number, most: number): SplitMessage {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const found: Candidate[] = [];
  collect(bytes, { from: 0, to: bytes.length, depth: 0 }, found);
  const taken = new Set<Candidate>();
  let length = bytes.length;
  for (const candidate of found.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    if (length <= target || taken.size >= most) break;
    taken.add(candidate);
    length -= sizeOf(candidate);
  }
  const cuts = found.filter((candidate) => taken.has(candidate));
  return { rest: cuts.length === 0 ? message : without(bytes, cuts), parts: cuts.map(partOf(bytes)) };
}

/** A part that can be taken out: from its delimiter line to the next. */
interface Candidate {
  readonly from: number;
  readonly to: number;
  /** Where its content lies. */
  readonly content: number;
  readonly end: number;
  readonly fields: PartFields;
  readonly parent: Parent;
}

interface Parent {
  readonly kind: "mixed" | "related";
  children: number;
}

interface Range {
  readonly from: number;
  readonly to: number;
  readonly depth: number;
}

/** Gathers what can be taken out of the part that lies here. */
function collect(bytes: Buffer, { from, to, depth }: Range, found: Candidate[]): void {
  const part = bytes.subarray(from, to);
  const end = endOfHeader(part);
  if (end < 0 || end > longestHeader || depth > deepest) return;
  const { type } = readFields(part.subarray(0, end));
  const kind = /^multipart\/(mixed|related|alternative)$/.exec(type.value)?.[1];
  const boundary = type.parameters.get("boundary");
  if (kind === undefined || !boundary) return;
  const parent: Parent | undefined = kind === "mixed" || kind === "related"
    ? { kind, children: 0 }
    : undefined;
  for (const [index, child] of childrenOf(bytes, from + end, to, boundary).entries()) {
    if (found.length >= mostParts) return;
    if (parent !== undefined) parent.children++;
    // The first part of related ones is what the others belong to.
    const candidate = parent === undefined || (parent.kind === "related" && index === 0)
      ? undefined
      : candidateOf(bytes, child, parent);
    if (candidate !== undefined) found.push(candidate);
    else collect(bytes, { from: child.header, to: child.end, depth: depth + 1 }, found);
  }
}

function candidateOf(bytes: Buffer, child: Child, parent: Parent): Candidate | undefined {
  const part = bytes.subarray(child.header, child.end);
  const length = endOfHeader(part);
  if (length < 0 || length > longestHeader) return undefined;
  const fields = readFields(part.subarray(0, length));
  const isFile = fields.disposition.value === "attachment" || fields.disposition.parameters.has("filename") ||
    fields.type.parameters.has("name") || !fields.type.value.startsWith("text/");
  if (!isFile || !fields.isReadable || fields.type.value.startsWith("multipart/")) return undefined;
  return {
    from: child.from,
    to: child.next,
    content: child.header + length,
    end: Math.max(child.end, child.header + length),
    fields,
    parent,
  };
}

function sizeOf({ from, to }: Candidate): number {
  return to - from;
}

/** The message without these parts; a multipart of which nothing is left gets an empty text. */
function without(bytes: Buffer, cuts: readonly Candidate[]): Uint8Array {
  const kept: Uint8Array[] = [];
  let at = 0;
  for (const { from, to, parent } of cuts) {
    kept.push(bytes.subarray(at, from));
    if (--parent.children === 0) {
      const delimiterEnd = bytes.indexOf("\r\n", from) + 2;
      kept.push(bytes.subarray(from, delimiterEnd), Buffer.from("Content-Type: text/plain\r\n\r\n\r\n"));
    }
    at = to;
  }
  kept.push(bytes.subarray(at));
  return Buffer.concat(kept);
}

function partOf(bytes: Buffer): (candidate: Candidate, index: number) => DetachedPart {
  return ({ content, end, fields, parent }, index) => {
    const { type, disposition, encoding, contentId } = fields;
    const charset = type.value.startsWith("text/") ? type.parameters.get("charset") : undefined;
    const isPlain = charset !== undefined && /^[\w.:+-]{1,40}$/.test(charset);
    return {
      name: nameOf(fields, index),
      contentType: `${/^[\w.+-]+\/[\w.+-]+$/.test(type.value) ? type.value : "application/octet-stream"}${
        isPlain ? `; charset=${charset}` : ""
      }`,
      ...(contentId === "" ? {} : { contentId }),
      isInline: contentId !== "" && (disposition.value === "inline" || parent.kind === "related"),
      content: () => decodeContent(bytes.subarray(content, end), encoding),
    };
  };
}

function nameOf({ type, disposition }: PartFields, index: number): string {
  const given = disposition.parameters.get("filename") ?? type.parameters.get("name") ?? "";
  const last = given.replace(/[\p{Cc}\p{Cf}]+/gu, "").split(/[/\\]/).at(-1)?.trim().slice(0, 255)
    .toWellFormed();
  if (last) return last;
  return type.value === "message/rfc822" ? `message-${index + 1}.eml` : `attachment-${index + 1}`;
}
