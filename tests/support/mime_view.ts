// A reader of messages of its own, for tests that ask what a message says: it shares no code with the product.
import { Buffer } from "node:buffer";

/** A field of a header, unfolded and decoded (RFC 2047). */
export interface ReadField {
  /** In lower case. */
  readonly name: string;
  readonly value: string;
  readonly raw: string;
}

/** A part that holds no other parts. */
export interface ReadPart {
  /** In lower case, without parameters. */
  readonly type: string;
  readonly charset: string;
  /** Lines that end with a space go on in the next one (RFC 3676). */
  readonly isFlowed: boolean;
  readonly disposition?: string;
  readonly name?: string;
  readonly contentId?: string;
  readonly content: Buffer;
}

/** A message taken apart. */
export interface ReadMessage {
  readonly fields: readonly ReadField[];
  readonly parts: readonly ReadPart[];
}

/** Takes a message apart; throws where it is not well made. */
export function readMessage(bytes: Buffer): ReadMessage {
  const { fields, body } = split(bytes);
  return { fields, parts: partsOf(fields, body) };
}

/** The mailboxes of a list as `name <address>` or `address`. */
export function mailboxesIn(raw: string): readonly string[] {
  return entriesOf(raw).map((entry) => {
    const [, phrase = "", address] = /^(.*?)\s*<([^<>]*)>$/s.exec(entry) ?? [];
    if (address === undefined) return entry;
    const quoted = /^"((?:[^"\\]|\\.)*)"$/s.exec(phrase)?.[1]?.replace(/\\(.)/g, "$1");
    const name = decodeWords(quoted ?? phrase);
    return name === "" ? address : `${name} <${address}>`;
  });
}

function split(bytes: Buffer): { readonly fields: readonly ReadField[]; readonly body: Buffer } {
  const isBare = bytes.subarray(0, 2).toString("latin1") === "\r\n";
  const end = isBare ? 0 : bytes.indexOf("\r\n\r\n");
  if (end < 0) throw new Error("The header has no end");
  const lines = bytes.subarray(0, end).toString("utf8").replace(/\r\n(?=[ \t])/g, "").split("\r\n");
  const fields = lines.filter((line) => line !== "").map((line) => {
    const [, name, raw] = /^([!-9;-~]+):[ \t]*(.*)$/s.exec(line) ?? [];
    if (name === undefined || raw === undefined) throw new Error(`No field: ${line}`);
    return { name: name.toLowerCase(), value: decodeWords(raw.trim()), raw: raw.trim() };
  });
  return { fields, body: bytes.subarray(isBare ? 2 : end + 4) };
}

function partsOf(fields: readonly ReadField[], body: Buffer): readonly ReadPart[] {
  const content = structured(fieldOf(fields, "content-type") ?? "text/plain; charset=us-ascii");
  const boundary = content.parameters.get("boundary");
  if (content.value.startsWith("multipart/")) {
    if (boundary === undefined) throw new Error("A multipart without a boundary");
    return pieces(body, boundary).flatMap((piece) => {
      const inner = split(piece);
      return partsOf(inner.fields, inner.body);
    });
  }
  const shown = structured(fieldOf(fields, "content-disposition") ?? "");
  const name = shown.parameters.get("filename") ?? content.parameters.get("name");
  const contentId = /^<(.*)>$/.exec(fieldOf(fields, "content-id") ?? "")?.[1];
  return [{
    type: content.value,
    charset: content.parameters.get("charset")?.toLowerCase() ?? "us-ascii",
    isFlowed: content.parameters.get("format")?.toLowerCase() === "flowed",
    content: decoded(body, fieldOf(fields, "content-transfer-encoding")?.toLowerCase() ?? "7bit"),
    ...(shown.value === "" ? {} : { disposition: shown.value }),
    ...(name === undefined ? {} : { name }),
    ...(contentId === undefined ? {} : { contentId }),
  }];
}

function fieldOf(fields: readonly ReadField[], name: string): string | undefined {
  return fields.find((field) => field.name === name)?.raw;
}

/** What stands between the lines of a boundary (RFC 2046 section 5.1.1); the closing line must be there. */
function pieces(body: Buffer, boundary: string): readonly Buffer[] {
  const text = `\r\n${body.toString("latin1")}`;
  const mark = `\r\n--${boundary}`;
  const all = text.split(mark);
  const last = all.pop();
  if (last === undefined || !last.startsWith("--")) throw new Error("The closing boundary is missing");
  return all.slice(1).map((piece) => Buffer.from(piece.replace(/^[ \t]*\r\n/, ""), "latin1"));
}

function decoded(body: Buffer, encoding: string): Buffer {
  if (encoding === "base64") return Buffer.from(body.toString("latin1"), "base64");
  if (encoding === "quoted-printable") {
    const text = body.toString("latin1").replace(/[ \t]+(?=\r\n|$)/g, "").replace(/=\r\n/g, "");
    return Buffer.from(
      text.replace(/=([\dA-F]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16))),
      "latin1",
    );
  }
  if (!["7bit", "8bit", "binary"].includes(encoding)) throw new Error(`Unknown encoding: ${encoding}`);
  return body;
}

/** A value with parameters, also continued and in a charset (RFC 2231), or in encoded words as mail programs do. */
function structured(raw: string) {
  const [value = "", ...rest] = raw.match(/(?:[^;"]|"(?:[^"\\]|\\.)*")+/g) ?? [];
  const simple = new Map<string, string>();
  const continued = new Map<
    string,
    { readonly at: number; readonly text: string; readonly isCoded: boolean }[]
  >();
  for (const parameter of rest) {
    const [, name = "", at, star, text = ""] =
      /^\s*([^=*\s]+)(?:\*(\d+))?(\*)?\s*=\s*(.*?)\s*$/s.exec(parameter) ?? [];
    const quoted = /^"((?:[^"\\]|\\.)*)"$/s.exec(text)?.[1]?.replace(/\\(.)/g, "$1");
    const key = name.toLowerCase();
    if (at === undefined && star === undefined) simple.set(key, decodeWords(quoted ?? text));
    else {
      const before = continued.get(key) ?? [];
      continued.set(key, [...before, {
        at: Number(at ?? 0),
        text: quoted ?? text,
        isCoded: star !== undefined,
      }]);
    }
  }
  for (const [name, segments] of continued) {
    const sorted = segments.sort((a, b) => a.at - b.at);
    const bytes = sorted.map(({ text, isCoded }, index) => {
      const coded = index === 0 && isCoded ? text.replace(/^[^']*'[^']*'/, "") : text;
      return isCoded
        ? coded.replace(/%([\dA-Fa-f]{2})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 16)))
        : coded;
    });
    simple.set(name, Buffer.from(bytes.join(""), "latin1").toString("utf8"));
  }
  return { value: value.trim().toLowerCase(), parameters: simple };
}

/** The entries of a list of mailboxes. */
function entriesOf(raw: string): readonly string[] {
  const found = raw.match(/(?:[^,"<]|"(?:[^"\\]|\\.)*"|<[^<>]*>)+/g) ?? [];
  return found.map((entry) => entry.trim()).filter((entry) => entry !== "");
}

/** A text of a field as people read it: encoded words (RFC 2047) become their text, what stands between two of them counts for nothing. */
export function decodeWords(text: string): string {
  const word = /=\?([^?*\s]+)(?:\*[^?\s]*)?\?([BQ])\?([^?\s]*)\?=/gi;
  const joined = text.replace(/(\?=)\s+(?==\?)/g, "$1");
  // Characters may be parted among words of one charset, so that neighbours are decoded together.
  return joined.replace(/(?:=\?[^?\s]+\?[BQ]\?[^?\s]*\?=)+/gi, (run) => {
    const bytes = [...run.matchAll(word)].map(([, , kind, coded = ""]) =>
      kind?.toUpperCase() === "B" ? Buffer.from(coded, "base64") : decoded(
        Buffer.from(coded.replaceAll("_", "=20"), "latin1"),
        "quoted-printable",
      )
    );
    const charset = [...run.matchAll(word)][0]?.[1] ?? "utf-8";
    return new TextDecoder(charset).decode(Buffer.concat(bytes));
  });
}
