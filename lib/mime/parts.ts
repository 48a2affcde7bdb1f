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
  readonly delimiter: string;
  readonly last: string;
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
  let turn = 0;
  for (let at = firstLine(bytes, root.bodyStart); at >= 0 && frames.length > 0; at = nextLine(bytes, at)) {
    if (++turn % 5000 === 0) await breathe();
    const line = delimiterAt(bytes, at);
    const depth = frames.findLastIndex(({ delimiter, last }) =>
      line.text === delimiter || line.text === last
    );
    const frame = frames[depth];
    if (frame === undefined) continue;
    const isEnd = line.text === frame.last;
    const end = endBefore(bytes, at);
    for (const { draft } of frames.slice(depth)) endLast(draft, end);
    frames.length = isEnd ? depth : depth + 1;
    if (isEnd) continue;
    if (++count > mostParts) {
      throw new TooManyParts(`Cannot take message apart: it has above ${mostParts} parts`);
    }
    const fallback = frame.draft.head.type === "multipart/digest" ? "message/rfc822" : "text/plain";
    const child = open(bytes, line.next, fallback, headerWindow);
    frame.draft.children.push(child);
    if (frames.length < deepest) push(frames, child);
  }
  return finish(bytes, root);
}

function push(frames: Frame[], draft: Draft): void {
  const boundary = draft.head.parameters.get("boundary")?.trimEnd() ?? "";
  if (!draft.head.type.startsWith("multipart/") || boundary === "") return;
  if (boundary.length <= longestBoundary) {
    frames.push({ delimiter: `--${boundary}`, last: `--${boundary}--`, draft });
  }
}

/** Where a line begins that may be a delimiter: at the body's own beginning, or after a line end. */
function firstLine(bytes: Buffer, start: number): number {
  return bytes.toString("latin1", start, start + 2) === "--" ? start : nextLine(bytes, start - 1);
}

function nextLine(bytes: Buffer, from: number): number {
  const found = bytes.indexOf("\n--", Math.max(0, from), "latin1");
  return found < 0 ? -1 : found + 1;
}

/** The beginning of a line, as far as a delimiter may go, and where the next line begins. */
function delimiterAt(bytes: Buffer, at: number): { readonly text: string; readonly next: number } {
  const newline = bytes.subarray(at, at + longestBoundary + 100).indexOf(10);
  const next = newline < 0 ? Math.min(bytes.length, at + longestBoundary + 100) : at + newline + 1;
  return { text: bytes.toString("latin1", at, next).trimEnd(), next };
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
