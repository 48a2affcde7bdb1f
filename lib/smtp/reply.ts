import { storable } from "../storable.ts";

/** One complete reply of an SMTP server (RFC 5321 section 4.2). */
export interface Reply {
  readonly code: number;
  /** The enhanced status code (RFC 3463), only when its class is that of `code`. */
  readonly enhanced?: string;
  /** The text of each line, without the codes at its beginning. */
  readonly lines: readonly string[];
}

/** Longest reply that is read, in characters; a server that goes on is broken or hostile. */
const maxReplyLength = 64 * 1024;

/** Puts replies together from the pieces a socket delivers. */
export class ReplyReader {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #lines: string[] = [];
  #length = 0;

  /** The replies that a piece completed, in order; throws when the bytes are no SMTP replies. */
  push(piece: Uint8Array): readonly Reply[] {
    this.#rest += this.#decoder.decode(piece, { stream: true });
    const replies: Reply[] = [];
    let start = 0;
    for (let end = this.#rest.indexOf("\n"); end >= 0; end = this.#rest.indexOf("\n", start)) {
      const reply = this.#takeLine(this.#rest.slice(start, end).trimEnd());
      if (reply !== undefined) replies.push(reply);
      start = end + 1;
    }
    if (start > 0) this.#rest = this.#rest.slice(start);
    if (this.#length + this.#rest.length > maxReplyLength) throw new Error("Reply is too long");
    return replies;
  }

  /** Whether a reply has begun and not ended. */
  get isPartial(): boolean {
    return this.#rest !== "" || this.#lines.length > 0;
  }

  #takeLine(line: string): Reply | undefined {
    const code = Number(line.slice(0, 3));
    const mark = line.charAt(3);
    if (!/^[2-5]\d\d/.test(line) || (mark !== "" && mark !== " " && mark !== "-")) {
      throw new Error(`Reply is not SMTP: ${JSON.stringify(line.slice(0, 80))}`);
    }
    this.#length += line.length;
    if (this.#length > maxReplyLength) throw new Error("Reply is too long");
    this.#lines.push(line.slice(4));
    if (mark === "-") return undefined;
    const lines = this.#lines;
    this.#lines = [];
    this.#length = 0;
    return withEnhancedCode(code, lines);
  }
}

function withEnhancedCode(code: number, lines: readonly string[]): Reply {
  const found = enhancedPattern.exec(lines[0] ?? "");
  if (found === null || Number(found[1]) !== Math.floor(code / 100)) return { code, lines };
  return { code, enhanced: `${found[1]}.${found[2]}.${found[3]}`, lines: lines.map(withoutEnhanced) };
}

const enhancedPattern = /^([245])\.(\d{1,3})\.(\d{1,3})(?=\s|$)/;

function withoutEnhanced(line: string): string {
  return line.replace(enhancedPattern, "").trimStart();
}

/** The class of a reply: 2 done, 3 go on, 4 not now, 5 never. */
export function replyClass(reply: Reply): number {
  return Math.floor(reply.code / 100);
}

/** A reply on one printable line, at most 500 characters, for logs and people. */
export function replyText(reply: Reply): string {
  const codes = reply.enhanced === undefined ? `${reply.code}` : `${reply.code} ${reply.enhanced}`;
  return storable(`${codes} ${reply.lines.join(" ")}`.replace(/\p{Cc}+/gu, " ").trim(), 500);
}
