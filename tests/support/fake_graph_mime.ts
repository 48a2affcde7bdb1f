// How Exchange finds the recipients of a message that it is given: in its header, by a reader of its own.
import { Buffer } from "node:buffer";

/** A message as Exchange keeps it. */
export interface ExchangeMail {
  readonly recipients: readonly string[];
  readonly from: string;
  /** What recipients get to see: without Bcc. */
  readonly visible: Buffer;
  /** Of the whole header, by name in lower case, unfolded. */
  readonly headers: ReadonlyMap<string, string>;
}

/** An attachment that was added to a draft. */
export interface AddedFile {
  readonly name: string;
  readonly contentType: string;
  readonly contentId?: string;
  readonly isInline: boolean;
  readonly content: Buffer;
}

/** Reads a message; undefined when it has a header that ends nowhere. */
export function readExchangeMail(mime: Buffer): ExchangeMail {
  const end = mime.subarray(0, 2).toString() === "\r\n" ? 0 : mime.indexOf("\r\n\r\n");
  const head = mime.subarray(0, end < 0 ? mime.length : end === 0 ? 0 : end + 2).toString("latin1");
  const fields = head.match(/[^\r\n]+(?:\r\n[ \t][^\r\n]*)*\r?\n?/g) ?? [];
  const headers = new Map<string, string>();
  for (const field of fields) {
    const colon = field.indexOf(":");
    const name = field.slice(0, colon).trim().toLowerCase();
    const value = field.slice(colon + 1).replace(/\r\n(?=[ \t])/g, "").trim();
    headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
  }
  const visible = fields.filter((field) => !/^bcc\s*:/i.test(field)).join("");
  const named = ["to", "cc", "bcc"].flatMap((name) => addressesIn(headers.get(name) ?? ""));
  return {
    recipients: [...new Set(named)],
    from: addressesIn(headers.get("from") ?? "")[0] ?? "",
    visible: Buffer.concat([
      Buffer.from(visible, "latin1"),
      mime.subarray(Buffer.byteLength(head, "latin1")),
    ]),
    headers,
  };
}

/** Generous, as Exchange is: whatever stands in angle brackets, else the bare entry. */
function addressesIn(list: string): readonly string[] {
  const bare = list.replace(/"(?:[^"\\]|\\.)*"(?!@)/g, " ").replace(/\((?:[^()\\]|\\.)*\)/g, " ");
  const entries = bare.replace(/[^,:;<>@]*:(?=[^@]*)/g, " ").split(/[,;]/);
  return entries.flatMap((entry) => {
    const angled = /<([^<>]*)>/.exec(entry)?.[1];
    const address = (angled ?? entry).trim();
    return address.includes("@") ? [address.toLowerCase()] : [];
  });
}
