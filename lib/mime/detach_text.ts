import { Buffer } from "node:buffer";
import { decodedText } from "./charset.ts";
import { isEncodingKnown } from "./detach_parts.ts";
import { splitParts } from "./parts.ts";
import { decodedPieces } from "./transfer_encoding.ts";

/** A message whose text was taken out, and that text. */
export interface MessageWithoutText {
  readonly rest: Uint8Array;
  readonly format: "text" | "html";
  /** Decoded from its charset. */
  readonly text: string;
}

/**
 * Takes out the one text of a message that has it in a single form; undefined when it has several or none. Throws
 * `TooManyParts`.
 */
export async function detachText(message: Uint8Array): Promise<MessageWithoutText | undefined> {
  let part = await splitParts(message);
  while (/^multipart\/(mixed|related)$/.test(part.type)) {
    const [first] = part.children;
    if (first === undefined) return undefined;
    part = first;
  }
  const { type, body, encoding, disposition, parameters } = part;
  if (!/^text\/(plain|html)$/.test(type) || disposition === "attachment" || !isEncodingKnown(encoding)) {
    return undefined;
  }
  const from = body.byteOffset - message.byteOffset;
  return {
    rest: Buffer.concat([message.subarray(0, from), message.subarray(from + body.length)]),
    format: type === "text/html" ? "html" : "text",
    text: [...decodedText(() => decodedPieces(body, encoding), parameters.get("charset"))].join(""),
  };
}
