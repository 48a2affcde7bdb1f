import { Buffer } from "node:buffer";
import { type ContentField, readContentField } from "./content_fields.ts";
import { fieldName, splitFields } from "./header_edits.ts";

/** What the header of a part says of its content. */
export interface PartFields {
  readonly type: ContentField;
  readonly disposition: ContentField;
  /** Lower case; empty when there is none. */
  readonly encoding: string;
  /** It is an encoding that there is (RFC 2045 section 6). */
  readonly isReadable: boolean;
  /** Without angle brackets; empty when there is none. */
  readonly contentId: string;
}

/** One part between two delimiter lines. */
export interface Child {
  /** Where its delimiter line begins. */
  readonly from: number;
  readonly header: number;
  /** Without the line end that belongs to the next delimiter. */
  readonly end: number;
  /** Where the next delimiter line begins. */
  readonly next: number;
}

/** The parts of a multipart whose content lies from here to there; none when its last delimiter is missing. */
export function childrenOf(bytes: Buffer, from: number, to: number, boundary: string): readonly Child[] {
  const mark = Buffer.from(`--${boundary}`, "utf8");
  const children: Child[] = [];
  let open: { from: number; header: number } | undefined;
  for (let at = bytes.indexOf(mark, from); at >= 0 && at < to; at = bytes.indexOf(mark, at + 1)) {
    const isLineStart = at === from || (bytes[at - 1] === 10 && bytes[at - 2] === 13);
    const lineEnd = isLineStart ? bytes.indexOf("\r\n", at) : -1;
    const after = bytes.subarray(at + mark.length, lineEnd < 0 ? to : lineEnd).toString("latin1");
    if (!isLineStart || !/^(--)?[ \t]*$/.test(after)) continue;
    if (open !== undefined) children.push({ ...open, end: Math.max(open.header, at - 2), next: at });
    if (after.startsWith("--") || lineEnd < 0) return children;
    open = { from: at, header: lineEnd + 2 };
  }
  return [];
}

/** Reads the header of a part. */
export function readFields(header: Uint8Array): PartFields {
  const values = new Map<string, string>();
  for (const field of splitFields(header)) {
    const name = fieldName(field);
    if (!values.has(name)) values.set(name, field.slice(field.indexOf(":") + 1));
  }
  const encoding = (values.get("content-transfer-encoding") ?? "").trim().toLowerCase();
  return {
    type: readContentField(values.get("content-type") ?? "text/plain"),
    disposition: readContentField(values.get("content-disposition") ?? ""),
    encoding,
    isReadable: ["", "7bit", "8bit", "binary", "base64", "quoted-printable"].includes(encoding),
    contentId: /<([^<>\s]{1,500})>/.exec(values.get("content-id") ?? "")?.[1] ?? "",
  };
}

/** Undoes a part's encoding; what is not of its alphabet is left out. */
export function decodeContent(content: Buffer, encoding: string): Uint8Array {
  if (encoding === "base64") return decodeBase64(content);
  return encoding === "quoted-printable" ? decodeQuoted(content) : content;
}

/** Piece by piece, so that no text as long as the content comes into being. */
function decodeBase64(content: Buffer): Uint8Array {
  const pieceLength = 1024 * 1024;
  const decoded: Buffer[] = [];
  let rest = "";
  for (let at = 0; at < content.length; at += pieceLength) {
    const text = rest +
      content.subarray(at, at + pieceLength).toString("latin1").replace(/[^A-Za-z0-9+/]/g, "");
    const whole = text.length - text.length % 4;
    decoded.push(Buffer.from(text.slice(0, whole), "base64"));
    rest = text.slice(whole);
  }
  return Buffer.concat([...decoded, Buffer.from(rest, "base64")]);
}

function decodeQuoted(content: Buffer): Uint8Array {
  const text = content.toString("latin1").replace(/[ \t]+(?=\r\n|$)/g, "").replace(/=\r\n/g, "");
  const plain = text.replace(
    /=([0-9A-Fa-f]{2})/g,
    (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(plain, "latin1");
}
