import { Buffer } from "node:buffer";
import { type Mailbox, parseAddressList } from "./address.ts";
import { decodeWords } from "./encoded_words.ts";

/** What we must know of a header to accept a message. */
export interface HeaderFacts {
  /** Every address of the one From field; undefined when there is no such field, several, or it cannot be read. */
  readonly from: readonly Mailbox[] | undefined;
  readonly fromFields: number;
  /** Decoded, storable, at most 998 characters. */
  readonly subject?: string;
  /** As given, storable, at most 998 characters. */
  readonly messageId?: string;
  readonly hasDate: boolean;
  /** There is such a field, even an empty one: a second one would make the message invalid (RFC 5322 section 3.6). */
  readonly hasMessageId: boolean;
  readonly received: number;
  /** The first line, from 1, that is neither a field nor the continuation of one. */
  readonly brokenLine?: number;
}

const CR = 13;
const LF = 10;
const longestKept = 998;

/** Where a header ends: the position after its blank line, or -1 when that has not come; looks from `from` on. */
export function endOfHeader(bytes: Uint8Array, from = 0): number {
  if (bytes[0] === CR && bytes[1] === LF) return 2;
  for (let at = bytes.indexOf(LF, from); at >= 0; at = bytes.indexOf(LF, at + 1)) {
    if (bytes[at + 1] === CR && bytes[at + 2] === LF) return at + 3;
  }
  return -1;
}

/** Reads a header block (RFC 5322, raw 8-bit tolerated); its size is the caller's to bound. */
export function readHeader(block: Uint8Array): HeaderFacts {
  const found = new Map<string, { text: string; count: number }>();
  let current: { text: string; count: number } | undefined;
  let brokenLine: number | undefined;
  // One character per byte: positions stay right whatever the encoding, and text is decoded where it is needed.
  const lines = Buffer.from(block.buffer, block.byteOffset, block.length).toString("latin1").split(fold);
  for (const [index, line] of lines.entries()) {
    if (line === "") continue;
    if (line.startsWith(" ") || line.startsWith("\t")) {
      if (current === undefined && index === 0) brokenLine ??= 1;
      else if (current !== undefined && current.count === 1) current.text += `${fold}${line}`;
      continue;
    }
    const field = /^([!-9;-~]{1,200})[ \t]*:/.exec(line);
    if (field?.[1] === undefined) {
      brokenLine ??= index + 1;
      continue;
    }
    const name = field[1].toLowerCase();
    current = kept.has(name) ? found.get(name) : ignored;
    if (current === undefined) {
      current = { text: line.slice(field[0].length), count: 1 };
      found.set(name, current);
    } else if (current !== ignored) {
      current.count++;
    }
  }
  return factsOf(found, brokenLine);
}
const kept: ReadonlySet<string> = new Set(["from", "subject", "message-id", "date", "received"]);
const ignored = { text: "", count: 2 };

/** What lines are split at: no line has it, so where it stands in a field's text the field is folded. */
const fold = "\r\n";

function unfolded(text: string): string {
  return text.replaceAll(fold, "");
}

function factsOf(
  found: ReadonlyMap<string, { readonly text: string; readonly count: number }>,
  brokenLine: number | undefined,
): HeaderFacts {
  const from = found.get("from");
  const subject = found.get("subject");
  const messageId = found.get("message-id");
  return {
    from: from?.count === 1 ? parseFrom(from.text) : undefined,
    fromFields: from?.count ?? 0,
    ...(subject === undefined
      ? {}
      : { subject: storable(decodeWords(decodeRaw(unfolded(subject.text)).trim())) }),
    ...(messageId === undefined ? {} : { messageId: storable(decodeRaw(unfolded(messageId.text)).trim()) }),
    hasDate: found.has("date"),
    hasMessageId: messageId !== undefined,
    received: found.get("received")?.count ?? 0,
    ...(brokenLine === undefined ? {} : { brokenLine }),
  };
}

function parseFrom(raw: string): readonly Mailbox[] | undefined {
  const utf8 = decodeUtf8(raw);
  // In a charset such as Shift_JIS a backslash may be half of a character, and then the quotes end elsewhere.
  if (utf8 === undefined && raw.includes("\\")) return undefined;
  const text = utf8 ?? decodeRaw(raw);
  // deno-lint-ignore no-control-regex -- a control character in From is how one address hides another
  if (text.length > 20_000 || /[\x00-\x08\x0a-\x1f\x7f]/.test(unfolded(text))) return undefined;
  return parseAddressList(text);
}

/** Text that PostgreSQL takes: well-formed, no NUL or other controls, bounded. */
function storable(text: string): string {
  // deno-lint-ignore no-control-regex -- control characters are what must go
  return text.slice(0, 4 * longestKept).replace(/[\x00-\x1f\x7f]+/g, " ").slice(0, longestKept)
    .toWellFormed();
}

/** UTF-8 where the bytes are UTF-8 (RFC 6532), else Windows-1252, which old clients mean by 8-bit headers. */
function decodeRaw(raw: string): string {
  return decodeUtf8(raw) ?? new TextDecoder("windows-1252").decode(bytesOf(raw));
}

/** Undefined where the bytes are no UTF-8. */
function decodeUtf8(raw: string): string | undefined {
  if (!/[\x80-\xff]/.test(raw)) return raw;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytesOf(raw));
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}
