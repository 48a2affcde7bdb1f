import { Buffer } from "node:buffer";
import { fieldName } from "./header_edits.ts";
import { type MimePart, splitParts } from "./parts.ts";
import { decodedPieces } from "./transfer_encoding.ts";

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

/**
 * Takes attachments and images out of a message, the largest first, until `target` bytes or less are left of it, none
 * can be taken or `most` were. Texts, and what a signature covers, stay. Throws `TooManyParts`.
 */
export async function detachParts(message: Uint8Array, target: number, most: number): Promise<SplitMessage> {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const found: Candidate[] = [];
  collect(bytes, await splitParts(message), found);
  const taken = new Set<Candidate>();
  let length = bytes.length;
  for (const candidate of found.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    if (length <= target || taken.size >= most) break;
    taken.add(candidate);
    length -= sizeOf(candidate);
  }
  const cuts = found.filter((candidate) => taken.has(candidate));
  return { rest: cuts.length === 0 ? message : without(bytes, cuts), parts: cuts.map(detachedPart) };
}

/** A part that can be taken out: from its delimiter line to the next. */
interface Candidate {
  readonly from: number;
  readonly to: number;
  readonly part: MimePart;
  readonly parent: Parent;
}

interface Parent {
  readonly kind: string;
  children: number;
}

/** Gathers what can be taken out of a part, in the order of the message. */
function collect(bytes: Buffer, part: MimePart, found: Candidate[]): void {
  const kind = /^multipart\/(mixed|related|alternative)$/.exec(part.type)?.[1];
  if (kind === undefined) return;
  const parent = { kind, children: part.children.length };
  for (const [index, child] of part.children.entries()) {
    // Other forms of a text are no files, and the first of related parts is what the others belong to.
    const isText = kind === "alternative" || (kind === "related" && index === 0);
    const candidate = isText || !isFile(child) ? undefined : candidateOf(bytes, child, parent);
    if (candidate !== undefined) found.push(candidate);
    else collect(bytes, child, found);
  }
}

function isFile({ type, parameters, disposition, dispositionParameters, encoding }: MimePart): boolean {
  if (type.startsWith("multipart/") || !isEncodingKnown(encoding)) return false;
  return disposition === "attachment" || dispositionParameters.has("filename") || parameters.has("name") ||
    !type.startsWith("text/");
}

/** Whether it is an encoding that there is (RFC 2045 section 6). */
export function isEncodingKnown(encoding: string): boolean {
  return ["", "7bit", "8bit", "binary", "base64", "quoted-printable"].includes(encoding);
}

/** Undefined where no delimiter follows: of a message that was cut off nothing is taken. */
function candidateOf(bytes: Buffer, part: MimePart, parent: Parent): Candidate | undefined {
  const content = part.body.byteOffset - bytes.byteOffset;
  const header = content - part.fields.reduce((sum, { length }) => sum + length, 0);
  const end = content + part.body.length;
  const breakLength = bytes[end] === 13 && bytes[end + 1] === 10 ? 2 : bytes[end] === 10 ? 1 : 0;
  const to = end + breakLength;
  if (header < 2 || bytes.toString("latin1", to, to + 2) !== "--") return undefined;
  return { from: bytes.lastIndexOf(10, header - 2) + 1, to, part, parent };
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
      const delimiterEnd = bytes.indexOf(10, from) + 1;
      kept.push(bytes.subarray(from, delimiterEnd), Buffer.from("Content-Type: text/plain\r\n\r\n\r\n"));
    }
    at = to;
  }
  kept.push(bytes.subarray(at));
  return Buffer.concat(kept);
}

function detachedPart({ part, parent }: Candidate, index: number): DetachedPart {
  const { type, parameters, disposition, encoding, body } = part;
  const charset = type.startsWith("text/") ? parameters.get("charset") : undefined;
  const isPlain = charset !== undefined && /^[\w.:+-]{1,40}$/.test(charset);
  const contentId = contentIdOf(part);
  return {
    name: nameOf(part, index),
    contentType: isPlain ? `${type}; charset=${charset}` : type,
    ...(contentId === undefined ? {} : { contentId }),
    isInline: contentId !== undefined && (disposition === "inline" || parent.kind === "related"),
    content: () => Buffer.concat([...decodedPieces(body, encoding)]),
  };
}

function contentIdOf({ fields }: MimePart): string | undefined {
  const field = fields.find((candidate) => fieldName(candidate) === "content-id");
  return /<([^<>\s]{1,500})>/.exec(field ?? "")?.[1];
}

function nameOf({ type, parameters, dispositionParameters }: MimePart, index: number): string {
  const given = dispositionParameters.get("filename") ?? parameters.get("name") ?? "";
  const last = given.replace(/[\p{Cc}\p{Cf}]+/gu, "").split(/[/\\]/).at(-1)?.trim().slice(0, 255)
    .toWellFormed();
  if (last) return last;
  return type === "message/rfc822" ? `message-${index + 1}.eml` : `attachment-${index + 1}`;
}
