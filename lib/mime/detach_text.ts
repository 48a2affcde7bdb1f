import { Buffer } from "node:buffer";
import { endOfHeader } from "./headers.ts";
import { childrenOf, decodeContent, readFields } from "./part_structure.ts";
import type { PartFields } from "./part_structure.ts";

/** A message whose text was taken out, and that text. */
export interface MessageWithoutText {
  readonly rest: Uint8Array;
  readonly format: "text" | "html";
  /** Decoded from its charset. */
  readonly text: string;
}

const deepest = 20;

/** Takes out the one text of a message that has it in a single form; undefined when it has several or none. */
export function detachText(message: Uint8Array): MessageWithoutText | undefined {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  let from = 0;
  let to = bytes.length;
  for (let depth = 0; depth < deepest; depth++) {
    const length = endOfHeader(bytes.subarray(from, to));
    if (length < 0) return undefined;
    const fields = readFields(bytes.subarray(from, from + length));
    const { type } = fields;
    if (/^text\/(plain|html)$/.test(type.value)) return withoutText(bytes, from + length, to, fields);
    const boundary = type.parameters.get("boundary");
    if (!/^multipart\/(mixed|related)$/.test(type.value) || !boundary) return undefined;
    const [first] = childrenOf(bytes, from + length, to, boundary);
    if (first === undefined) return undefined;
    from = first.header;
    to = first.end;
  }
  return undefined;
}

function withoutText(
  bytes: Buffer,
  from: number,
  to: number,
  fields: PartFields,
): MessageWithoutText | undefined {
  const { type, disposition, encoding, isReadable } = fields;
  if (!isReadable || disposition.value === "attachment") return undefined;
  const content = decodeContent(bytes.subarray(from, to), encoding);
  return {
    rest: Buffer.concat([bytes.subarray(0, from), bytes.subarray(to)]),
    format: type.value === "text/html" ? "html" : "text",
    text: decoderFor(type.parameters.get("charset")).decode(content),
  };
}

function decoderFor(charset: string | undefined): TextDecoder {
  try {
    return new TextDecoder(charset ?? "utf-8");
  } catch (error) {
    // A charset nobody knows.
    if (!(error instanceof RangeError)) throw error;
    return new TextDecoder("windows-1252");
  }
}
