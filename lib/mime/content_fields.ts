import { Buffer } from "node:buffer";
import { decodeWords } from "./encoded_words.ts";

/** A field such as Content-Type: a value and its parameters (RFC 2045 section 5.1, RFC 2183). */
export interface ContentField {
  /** Lower case, e.g. `text/plain` or `attachment`. */
  readonly value: string;
  /** By name in lower case; those in another charset or in several pieces are decoded (RFC 2231). */
  readonly parameters: ReadonlyMap<string, string>;
}

const parameter =
  /;\s*([!#$&+.^_`{|}~0-9A-Za-z-]+(?:\*\d{1,3})?\*?)\s*=\s*(?:"((?:[^"\\]|\\[^])*)"|([^\s;]*))/g;
const mostParameters = 200;

/** Reads a field's value (one character per byte, folds included); what cannot be read is left out. */
export function readContentField(text: string): ContentField {
  const flat = withoutComments(text.replace(/\r\n(?=[ \t])/g, ""));
  const value = /^\s*([^\s;]*)/.exec(flat)?.[1]?.toLowerCase() ?? "";
  const pieces = new Map<string, string>();
  for (const [, name = "", quoted, plain = ""] of flat.matchAll(parameter)) {
    if (pieces.size >= mostParameters) break;
    const given = quoted === undefined ? plain : quoted.replace(/\\([^])/g, "$1");
    if (!pieces.has(name.toLowerCase())) pieces.set(name.toLowerCase(), given);
  }
  const parameters = new Map<string, string>();
  for (const name of new Set([...pieces.keys()].map((piece) => piece.replace(/\*.*$/, "")))) {
    parameters.set(name, parameterValue(name, pieces));
  }
  return { value, parameters };
}

function parameterValue(name: string, pieces: ReadonlyMap<string, string>): string {
  const whole = pieces.get(`${name}*`);
  if (whole !== undefined) return decodeExtended(whole, true);
  const plain = pieces.get(name);
  if (plain !== undefined) return decodeWords(decodeRaw(plain));
  let charset: string | undefined;
  const bytes: Buffer[] = [];
  for (let index = 0; index < mostParameters; index++) {
    const encoded = pieces.get(`${name}*${index}*`);
    const literal = pieces.get(`${name}*${index}`);
    if (encoded === undefined && literal === undefined) break;
    const start = index === 0 ? /^([^']*)'[^']*'/.exec(encoded ?? "") : null;
    if (start !== null) charset = start[1];
    bytes.push(
      encoded === undefined
        ? Buffer.from(literal ?? "", "latin1")
        : percentDecoded(encoded.slice(start?.[0].length)),
    );
  }
  return decodeBytes(Buffer.concat(bytes), charset);
}

/** `charset'language'%41…` */
function decodeExtended(text: string, hasCharset: boolean): string {
  const start = hasCharset ? /^([^']*)'[^']*'/.exec(text) : null;
  return decodeBytes(percentDecoded(text.slice(start?.[0].length)), start?.[1]);
}

function percentDecoded(text: string): Buffer {
  const plain = text.replace(
    /%([0-9A-Fa-f]{2})/g,
    (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(plain, "latin1");
}

function decodeRaw(text: string): string {
  return /[\x80-\xff]/.test(text) ? decodeBytes(Buffer.from(text, "latin1"), undefined) : text;
}

/** In the charset named; without one, UTF-8 where it is that, else Windows-1252. */
function decodeBytes(bytes: Uint8Array, charset: string | undefined): string {
  try {
    return new TextDecoder(charset || "utf-8", { fatal: !charset }).decode(bytes);
  } catch (error) {
    if (!(error instanceof RangeError || error instanceof TypeError)) throw error;
    return new TextDecoder("windows-1252").decode(bytes);
  }
}

/** Comments mean nothing; parentheses in quotes are none. */
function withoutComments(text: string): string {
  if (!text.includes("(")) return text;
  let result = "";
  let depth = 0;
  let isQuoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === "\\") {
      if (depth === 0) result += text.slice(at, at + 2);
      at++;
      continue;
    }
    if (character === '"' && depth === 0) isQuoted = !isQuoted;
    if (character === "(" && !isQuoted) depth++;
    if (depth === 0) result += character;
    if (character === ")" && !isQuoted && depth > 0) depth--;
  }
  return result;
}
