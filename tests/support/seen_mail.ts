// What a service was told of a message, in words that are the same for every service and every way of telling it.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { decodeWords, mailboxesIn, readMessage, type ReadPart } from "./mime_view.ts";

/** A text or a file of a message. */
export interface SeenPart {
  readonly type: string;
  /** `text` is what is read at once, or one of its alternatives. */
  readonly disposition: "text" | "inline" | "attachment";
  readonly name: string;
  readonly contentId: string;
  /** Of a file's bytes; of a text as UTF-8 with bare line ends and none at its end. */
  readonly sha256: string;
}

/** A message as its recipients see it. */
export interface SeenMail {
  /** Everybody it goes to, in lower case, sorted; and whom each is told of. */
  readonly recipients: readonly string[];
  readonly shown: Readonly<Record<string, string>>;
  readonly from: string;
  readonly replyTo: readonly string[];
  readonly subject: string;
  /** Its other fields by their names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly parts: readonly SeenPart[];
}

/** One mail to some, and what its To and Cc say. */
export interface SeenCopy {
  readonly recipients: readonly string[];
  readonly to: readonly string[];
  readonly cc: readonly string[];
}

const told = ["from", "to", "cc", "reply-to", "subject", "mime-version"];

/** A message that goes to these recipients as it is. */
export function seenInMime(bytes: Buffer, recipients: readonly string[]): SeenMail {
  const { fields, parts } = readMessage(bytes);
  const listed = (name: string) =>
    fields.filter((field) => field.name === name).flatMap(({ raw }) => mailboxesIn(raw));
  const others = fields.filter(({ name }) => !told.includes(name) && !name.startsWith("content-"));
  return {
    ...seenBy([{ recipients, to: listed("to"), cc: listed("cc") }]),
    from: listed("from").join(),
    replyTo: listed("reply-to"),
    subject: fields.find(({ name }) => name === "subject")?.value ?? "",
    headers: Object.fromEntries(others.map(({ name, value }) => [name, value])),
    parts: sorted(parts.map(seenPart)),
  };
}

/** Who gets a mail that was told of in several copies, and what each sees. */
export function seenBy(copies: readonly SeenCopy[]): Pick<SeenMail, "recipients" | "shown"> {
  const shown = copies.flatMap(({ recipients, to, cc }) =>
    recipients.map((recipient) => [recipient.toLowerCase(), `To: ${to.join()} Cc: ${cc.join()}`] as const)
  );
  return { recipients: shown.map(([recipient]) => recipient).sort(), shown: Object.fromEntries(shown) };
}

/** A mailbox as it is read. */
export function boxText(address: string, name = ""): string {
  return name === "" ? address : `${name} <${address}>`;
}

/** Fields by their names in lower case, with their texts as they are read. */
export function seenHeaders(headers: Readonly<Record<string, string>>): SeenMail["headers"] {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), decodeWords(value)]),
  );
}

/** A text that is read at once. */
export function seenText(type: string, value: string): SeenPart {
  const text = value.replaceAll("\r\n", "\n").replace(/\n+$/, "");
  return { type, disposition: "text", name: "", contentId: "", sha256: hashOf(Buffer.from(text)) };
}

/** A file. */
export function seenFile(
  file: Omit<SeenPart, "sha256" | "contentId"> & { readonly contentId?: string | undefined },
  content: Uint8Array,
): SeenPart {
  return { ...file, contentId: file.contentId ?? "", sha256: hashOf(content) };
}

/** Parts in an order of their own, because services name texts and files apart. */
export function sorted(parts: readonly SeenPart[]): readonly SeenPart[] {
  const key = (part: SeenPart) => JSON.stringify([part.disposition, part.type, part.name, part.sha256]);
  return parts.toSorted((a, b) => key(a) < key(b) ? -1 : 1);
}

function seenPart(part: ReadPart): SeenPart {
  const { type, charset, disposition, name = "", contentId, content } = part;
  if (disposition === "attachment" || name !== "" || !type.startsWith("text/")) {
    return seenFile(
      { type, disposition: disposition === "inline" ? "inline" : "attachment", name, contentId },
      content,
    );
  }
  const text = new TextDecoder(charset).decode(content);
  return seenText(type, part.isFlowed ? unwrapped(text) : text);
}

/** RFC 3676 without quotes: a line that ends with a space goes on in the next, a space before a line is stuffing. */
function unwrapped(text: string): string {
  return text.split("\r\n").map((line) => line.replace(/^ /, "")).join("\r\n").replace(/ \r\n/g, " ");
}

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
