import { Buffer } from "node:buffer";
import { readContentField } from "./content_fields.ts";
import { fieldName, splitFields } from "./header_edits.ts";

/** A part of a message as RFC 2046 cuts it; its bytes are views of the message, nothing is copied or decoded. */
export interface MimePart {
  /** Header fields with their folds, one character per byte. */
  readonly fields: readonly string[];
  /** Lower case; `text/plain` where the header does not say (RFC 2045 section 5.2). */
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
  /** Lower case, e.g. `inline`; absent where the header does not say. */
  readonly disposition?: string;
  readonly dispositionParameters: ReadonlyMap<string, string>;
  /** Content-Transfer-Encoding in lower case. */
  readonly encoding: string;
  /** What follows the header, still encoded. */
  readonly body: Uint8Array;
  /** The parts of a multipart; none for a leaf, and for a multipart whose boundary never comes. */
  readonly children: readonly MimePart[];
}

/** A message in more pieces than anybody sends. */
export class TooManyParts extends Error {
  override readonly name = "TooManyParts";
}

const mostParts = 10_000;
/** A multipart that lies deeper is left whole. */
const deepest = 200;
const headerWindow = 64 * 1024;
const turnLength = 1024 * 1024;
const LF = 10;
const CR = 13;
const DASH = 45;
const longestBoundary = 200;

interface Draft {
  readonly start: number;
  readonly bodyStart: number;
  end: number;
  readonly children: Draft[];
  readonly head: Head;
}

type Head = Omit<MimePart, "body" | "children">;

interface Frame {
  /** Two hyphens and the boundary. */
  readonly delimiter: Uint8Array;
  readonly draft: Draft;
}

/** Lets others run: a large message is taken apart in many short turns. */
export async function breathe(): Promise<void> {
  await new Promise<void>((resolve) => setTimeout(resolve, 0));
}

/** Cuts a message into its parts. Throws `TooManyParts` above 10,000; whatever else is wrong with it, parts come out. */
export async function splitParts(message: Uint8Array): Promise<MimePart> {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.length);
  const root = open(bytes, 0, "text/plain", 1024 * 1024);
  const frames: Frame[] = [];
  push(frames, root);
  let count = 1;
  // The search for bytes is native only in a plain array. The line end before the body counts: a delimiter may be first.
  const plain = new Uint8Array(message.buffer, message.byteOffset, message.length);
  for (
    let from = Math.max(0, root.bodyStart - 1);
    from < plain.length && frames.length > 0;
    from += turnLength
  ) {
    if (from > root.bodyStart) await breathe();
    const until = from + turnLength;
    for (
      let at = nextDashes(plain, from, until);
      at >= 0 && frames.length > 0;
      at = nextDashes(plain, at, until)
    ) {
      const found = delimiterAt(bytes, at, frames);
      if (found === undefined) continue;
      const { depth, isEnd, next } = found;
      const draft = frames[depth]?.draft;
      for (const frame of frames.slice(depth)) endLast(frame.draft, endBefore(bytes, at));
      frames.length = isEnd ? depth : depth + 1;
      if (isEnd || draft === undefined) continue;
      if (++count > mostParts) {
        throw new TooManyParts(`Cannot take message apart: it has above ${mostParts} parts`);
      }
      const fallback = draft.head.type === "multipart/digest" ? "message/rfc822" : "text/plain";
      const child = open(bytes, next, fallback, headerWindow);
      draft.children.push(child);
      if (frames.length < deepest) push(frames, child);
    }
  }
  return finish(bytes, root);
}

function push(frames: Frame[], draft: Draft): void {
  const boundary = draft.head.parameters.get("boundary")?.trimEnd() ?? "";
  if (!draft.head.type.startsWith("multipart/") || boundary === "") return;
  if (boundary.length <= longestBoundary) {
    frames.push({ delimiter: Buffer.from(`--${boundary}`), draft });
  }
}

/** The next line that begins with two hyphens after a line end within these bounds; -1 for none. */
function nextDashes(bytes: Uint8Array, from: number, until: number): number {
  for (let at = bytes.indexOf(LF, from); at >= 0 && at < until; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === DASH && bytes[at + 2] === DASH) return at + 1;
  }
  return -1;
}

/** Which open multipart a line parts, the innermost first, and where the next line begins. */
function delimiterAt(bytes: Buffer, at: number, frames: readonly Frame[]) {
  for (let depth = frames.length - 1; depth >= 0; depth--) {
    const delimiter = frames[depth]?.delimiter;
    if (delimiter === undefined || bytes[at + 2] !== delimiter[2] || !startsWith(bytes, at, delimiter)) {
      continue;
    }
    let end = at + delimiter.length;
    const isEnd = bytes[end] === DASH && bytes[end + 1] === DASH;
    if (isEnd) end += 2;
    // White space behind it was added on the way (RFC 2046 section 5.1.1).
    while (bytes[end] === 32 || bytes[end] === 9 || bytes[end] === CR) end++;
    if (end >= bytes.length || bytes[end] === LF) {
      return { depth, isEnd, next: Math.min(end + 1, bytes.length) };
    }
  }
  return undefined;
}

function startsWith(bytes: Uint8Array, at: number, text: Uint8Array): boolean {
  for (let index = 0; index < text.length; index++) if (bytes[at + index] !== text[index]) return false;
  return true;
}

/** The line end before a delimiter belongs to the delimiter (RFC 2046 section 5.1.1). */
function endBefore(bytes: Buffer, at: number): number {
  if (bytes[at - 1] !== 10) return at;
  return bytes[at - 2] === 13 ? at - 2 : at - 1;
}

function endLast({ children }: Draft, end: number): void {
  const last = children.at(-1);
  if (last !== undefined && last.end < 0) last.end = end;
}

function open(bytes: Buffer, start: number, fallback: string, window: number): Draft {
  const head = bytes.subarray(start, start + window);
  const hasHeader = /^[!-9;-~]{1,200}[ \t]*:/.test(head.toString("latin1", 0, 202));
  const isBlank = head[0] === 10 || (head[0] === 13 && head[1] === 10);
  if (!hasHeader) return draftOf(start, start + (isBlank ? (head[0] === 10 ? 1 : 2) : 0), [], fallback);
  const length = headerLength(head);
  return draftOf(start, start + length, splitFields(head.subarray(0, length)), fallback);
}

/** Up to the empty line, or to a delimiter where that comes first. */
function headerLength(head: Buffer): number {
  const ends = [["\r\n\r\n", 4], ["\n\n", 2], ["\n--", 1]] as const;
  let length = head.length;
  for (const [mark, size] of ends) {
    const found = head.subarray(0, length).indexOf(mark, 0, "latin1");
    if (found >= 0) length = found + size;
  }
  return length;
}

function draftOf(start: number, bodyStart: number, fields: readonly string[], fallback: string): Draft {
  return { start, bodyStart, end: -1, children: [], head: headOf(fields, fallback) };
}

function headOf(fields: readonly string[], fallback: string): Head {
  const type = contentField(fields, "content-type");
  const disposition = contentField(fields, "content-disposition");
  const encoding = contentField(fields, "content-transfer-encoding")?.value ?? "";
  const isType = type !== undefined && /^[!#$&+.^_`{|}~0-9a-z-]+\/[!#$&+.^_`{|}~0-9a-z-]+$/.test(type.value);
  return {
    fields,
    type: isType ? type.value : fallback,
    parameters: type?.parameters ?? new Map(),
    ...(disposition === undefined || disposition.value === "" ? {} : { disposition: disposition.value }),
    dispositionParameters: disposition?.parameters ?? new Map(),
    encoding,
  };
}

function contentField(fields: readonly string[], name: string) {
  const field = fields.find((candidate) => fieldName(candidate) === name);
  return field === undefined
    ? undefined
    : readContentField(field.slice(field.indexOf(":") + 1).slice(0, headerWindow));
}

function finish(bytes: Buffer, draft: Draft, parentEnd = bytes.length): MimePart {
  const end = draft.end < 0 ? parentEnd : draft.end;
  return {
    ...draft.head,
    body: bytes.subarray(Math.min(draft.bodyStart, end), end),
    children: draft.children.map((child) => finish(bytes, child, end)),
  };
}
