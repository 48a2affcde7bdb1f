import { Buffer } from "node:buffer";
import { type ContentField, readContentField } from "./content_fields.ts";
import { fieldName, splitFields } from "./header_edits.ts";

/** What a look through a message finds. */
export interface MessageScan {
  /** The header section with its blank line, where there is one; at most a little above 1 MiB. */
  readonly header: Uint8Array;
  /** Whether a file is attached; undefined when only the header was asked for. */
  readonly hasAttachment?: boolean;
}

const longestHeader = 1024 * 1024;
const longestPartHeader = 64 * 1024;
const longestDelimiter = 300;
const mostBoundaries = 100;
/** Lines that begin as delimiters do; what comes after as many is not looked at. */
const mostLines = 100_000;
const LF = 10;

/**
 * Looks through a message as far as it must: its header, and with `parts` all of it up to the first attached file,
 * which is a part that is meant to be saved, or is neither text nor shown within the text. Nothing is decoded, little
 * of it is held at a time, and what comes after 100,000 lines that begin with two hyphens is not looked at. Fails as
 * reading fails.
 */
export async function scanMessage(
  pieces: AsyncIterable<Uint8Array>,
  asked: { readonly parts: boolean },
): Promise<MessageScan> {
  const scan = new Scan();
  for await (const piece of pieces) {
    scan.take(piece);
    if (scan.header !== undefined && (!asked.parts || scan.isDone)) break;
  }
  scan.end();
  const header = scan.header ?? new Uint8Array();
  return asked.parts ? { header, hasAttachment: scan.hasAttachment } : { header };
}

class Scan {
  header: Uint8Array | undefined;
  hasAttachment = false;
  /** Nothing that comes can change what was found. */
  isDone = false;
  #inHeader = true;
  #lines = 0;
  #held: Buffer = Buffer.alloc(0);
  readonly #boundaries: string[] = [];

  take(piece: Uint8Array): void {
    if (this.isDone) return;
    this.#held = this.#held.length === 0 ? Buffer.from(piece) : Buffer.concat([this.#held, piece]);
    this.#read(false);
  }

  end(): void {
    this.#read(true);
  }

  #read(isEnd: boolean): void {
    while (!this.isDone) {
      const hasMoved = this.#inHeader ? this.#readHeader(isEnd) : this.#readToDelimiter(isEnd);
      if (!hasMoved) return;
    }
    this.#held = Buffer.alloc(0);
  }

  /** One header section; false until all of it is there. */
  #readHeader(isEnd: boolean): boolean {
    const limit = this.header === undefined ? longestHeader : longestPartHeader;
    const end = headerEnd(this.#held) ?? (isEnd || this.#held.length > limit ? this.#held.length : undefined);
    if (end === undefined) return false;
    const section = this.#held.subarray(0, end);
    this.#judge(splitFields(section));
    if (this.header === undefined) this.header = Uint8Array.from(section);
    this.#inHeader = false;
    // The line end before the body counts: a delimiter may be its first line.
    this.#held = this.#held.subarray(Math.max(0, end - 1));
    if (this.#boundaries.length === 0) this.isDone = true;
    return true;
  }

  /** Up to the header of the next part; false until it comes. */
  #readToDelimiter(isEnd: boolean): boolean {
    for (let at = this.#held.indexOf("\n--", 0, "latin1"); at >= 0;) {
      if (++this.#lines > mostLines) this.isDone = true;
      if (this.isDone) return true;
      const lineEnd = this.#held.indexOf(LF, at + 1);
      if (lineEnd < 0 && !isEnd && this.#held.length - at <= longestDelimiter) {
        this.#held = this.#held.subarray(at);
        return false;
      }
      const line = this.#held.toString(
        "latin1",
        at + 1,
        Math.min(lineEnd < 0 ? Infinity : lineEnd, at + longestDelimiter),
      );
      if (this.#boundaries.includes(line.trimEnd())) {
        this.#held = lineEnd < 0 ? Buffer.alloc(0) : this.#held.subarray(lineEnd + 1);
        this.#inHeader = true;
        return lineEnd >= 0;
      }
      at = this.#held.indexOf("\n--", at + 1, "latin1");
    }
    this.#held = this.#held.subarray(Math.max(0, this.#held.length - 2));
    return false;
  }

  #judge(fields: readonly string[]): void {
    const type = contentField(fields, "content-type");
    if (type?.value.startsWith("multipart/") === true) {
      const boundary = type.parameters.get("boundary")?.trimEnd() ?? "";
      if (boundary !== "" && this.#boundaries.length < mostBoundaries) this.#boundaries.push(`--${boundary}`);
      return;
    }
    if (isAttached(type, contentField(fields, "content-disposition"), fields)) {
      this.hasAttachment = true;
      this.isDone = true;
    }
  }
}

function isAttached(
  type: ContentField | undefined,
  disposition: ContentField | undefined,
  fields: readonly string[],
): boolean {
  if (disposition?.value === "attachment") return true;
  if (disposition?.value === "inline" || fields.some((field) => fieldName(field) === "content-id")) {
    return false;
  }
  const isText = type === undefined || type.value === "" || type.value.startsWith("text/");
  return !isText || disposition?.parameters.has("filename") === true || type?.parameters.has("name") === true;
}

function contentField(fields: readonly string[], name: string): ContentField | undefined {
  const field = fields.find((candidate) => fieldName(candidate) === name);
  if (field === undefined) return undefined;
  return readContentField(field.slice(field.indexOf(":") + 1, longestPartHeader));
}

/** Where a header section ends, its blank line included. */
function headerEnd(bytes: Buffer): number | undefined {
  if (bytes[0] === LF) return 1;
  if (bytes[0] === 13 && bytes[1] === LF) return 2;
  const [crlf, lf] = [bytes.indexOf("\r\n\r\n", 0, "latin1"), bytes.indexOf("\n\n", 0, "latin1")];
  if (crlf >= 0 && (lf < 0 || crlf < lf)) return crlf + 4;
  return lf >= 0 ? lf + 2 : undefined;
}
