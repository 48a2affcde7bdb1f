import { decodedText } from "./charset.ts";
import { decodeWords } from "./encoded_words.ts";
import { fieldName } from "./header_edits.ts";
import { splitParts } from "./parts.ts";
import type { MimePart } from "./parts.ts";
import { decodedPieces } from "./transfer_encoding.ts";

/** A message taken apart: what it says, in which forms, and what is attached. Nothing of it is decoded yet. */
export interface ParsedMessage {
  /** In order, as often as they occur. */
  readonly fields: readonly MessageField[];
  /** The forms of the text, at most one of each type: plain text, HTML, then others such as calendars and AMP. */
  readonly bodies: readonly MessageBody[];
  /** Everything else, in the message's order. */
  readonly attachments: readonly Attachment[];
}

/** One field of the message's header. */
export interface MessageField {
  /** As it is written. */
  readonly name: string;
  /** Unfolded, one character per byte; `fieldText` makes it readable. */
  readonly value: string;
}

/** One form of a message's text. */
export interface MessageBody {
  /** Lower case, without parameters. */
  readonly type: string;
  /** As many bytes as it has while it is encoded. */
  readonly size: number;
  /** The text in pieces, as often as it is asked for. */
  text(): Iterable<string>;
}

/** One attached file. */
export interface Attachment {
  /** Lower case, without parameters. */
  readonly type: string;
  /** Never empty: made up where the message names none. */
  readonly fileName: string;
  /** Meant to be shown within the text. */
  readonly isInline: boolean;
  /** Without its angle brackets. */
  readonly contentId?: string;
  /** As many bytes as it has while it is encoded. */
  readonly size: number;
  /** It is in base64 while it is encoded. */
  readonly isBase64: boolean;
  /** The file's bytes in pieces of about 200 KB, as often as they are asked for. */
  bytes(): Iterable<Uint8Array>;
}

/**
 * Takes a message apart, however it is made: what cannot be read as it claims to be becomes text or an attachment.
 * Throws `TooManyParts`, and nothing else. The message's bytes are kept and must not change.
 */
export async function parseMessage(message: Uint8Array): Promise<ParsedMessage> {
  const root = await splitParts(message);
  const parts = new Decomposition();
  parts.take(root, { isRoot: true, inRelated: false, inAlternative: false });
  return {
    fields: root.fields.flatMap(fieldOf),
    bodies: parts.bodies(),
    attachments: parts.attachments.map(attachmentOf),
  };
}

/** A field's value for people: encoded words are decoded, raw bytes are UTF-8 or Windows-1252, controls are spaces. */
export function fieldText(value: string): string {
  const bytes = Uint8Array.from(value, (character) => character.charCodeAt(0));
  const text = [...decodedText(() => [bytes], undefined)].join("");
  return decodeWords(text).replace(/\p{Cc}+/gu, " ").trim().toWellFormed();
}

function fieldOf(field: string): readonly MessageField[] {
  if (fieldName(field) === "") return [];
  const colon = field.indexOf(":");
  const value = field.slice(colon + 1).replace(/(\r\n?|\n)(?=[ \t])/g, "").trim();
  return [{ name: field.slice(0, colon).trimEnd(), value }];
}

interface Place {
  readonly isRoot: boolean;
  readonly inRelated: boolean;
  readonly inAlternative: boolean;
}

interface Attached {
  readonly part: MimePart;
  readonly inRelated: boolean;
}

/** Sorts the leaves of a message into its text and what goes with it. */
class Decomposition {
  readonly attachments: Attached[] = [];
  readonly #bodies = new Map<string, MimePart>();

  /** Plain text, HTML, then the others in their order. */
  bodies(): readonly MessageBody[] {
    const rank = (type: string) => type === "text/plain" ? 0 : type === "text/html" ? 1 : 2;
    return [...this.#bodies].sort(([a], [b]) => rank(a) - rank(b)).map(([type, part]) => ({
      type,
      size: part.body.length,
      text: () => decodedText(() => decodedPieces(part.body, part.encoding), part.parameters.get("charset")),
    }));
  }

  take(part: MimePart, place: Place): void {
    if (part.children.length > 0) this.#takeParts(part, place);
    else if (this.#isBody(part, place)) this.#bodies.set(bodyType(part), part);
    else if (part.body.length > 0) this.attachments.push({ part, inRelated: place.inRelated });
  }

  #takeParts({ type, parameters, children }: MimePart, { inRelated, inAlternative }: Place): void {
    if (type === "multipart/related") {
      const start = contentIdOf(parameters.get("start") ?? "");
      const main = children.find((child) =>
        start !== "" && contentIdOf(rawField(child, "content-id")) === start
      ) ??
        children[0];
      for (const child of children) {
        this.take(child, {
          isRoot: false,
          inRelated: child !== main,
          inAlternative: inAlternative && child === main,
        });
      }
      return;
    }
    for (const child of children) {
      this.take(child, { isRoot: false, inRelated, inAlternative: type === "multipart/alternative" });
    }
  }

  /**
   * The first plain text and the first HTML are the message's text, further ones stay apart as the sender had them.
   * Other types of text are forms of it only among alternatives.
   */
  #isBody(part: MimePart, { isRoot, inRelated, inAlternative }: Place): boolean {
    const type = bodyType(part);
    if (part.disposition === "attachment" || inRelated || !type.startsWith("text/")) return false;
    if (this.#bodies.has(type)) return false;
    if (inAlternative) return true;
    if (type !== "text/plain" && type !== "text/html") return false;
    if (isRoot) return true;
    // HTML without its plain form is complete; plain text that follows it is something else.
    if (type === "text/plain" && this.#bodies.has("text/html")) return false;
    return fileNameOf(part) === "" && part.body.length > 0;
  }
}

/** A multipart that holds no part is text, as somebody without MIME would read it. */
function bodyType({ type, disposition }: MimePart): string {
  return type.startsWith("multipart/") && disposition !== "attachment" ? "text/plain" : type;
}

function attachmentOf({ part, inRelated }: Attached, index: number): Attachment {
  const type = attachedType(part);
  const contentId = contentIdOf(rawField(part, "content-id"));
  const name = fileNameOf(part);
  const isShown = inRelated || contentId !== "" || (type.startsWith("text/") && name === "");
  return {
    type,
    fileName: name || `${type === "message/rfc822" ? "message" : "attachment"}-${index + 1}${ending(type)}`,
    isInline: part.disposition === undefined ? isShown : part.disposition === "inline",
    ...(contentId === "" ? {} : { contentId }),
    size: part.body.length,
    isBase64: part.encoding === "base64",
    bytes: () => decodedPieces(part.body, part.encoding),
  };
}

function attachedType({ type }: MimePart): string {
  return type.startsWith("multipart/") ? "application/octet-stream" : type;
}

function fileNameOf({ parameters, dispositionParameters }: MimePart): string {
  const name = dispositionParameters.get("filename") ?? parameters.get("name") ?? "";
  return name.replace(/\p{Cc}+/gu, " ").trim().toWellFormed();
}

function rawField({ fields }: MimePart, name: string): string {
  const field = fields.find((candidate) => fieldName(candidate) === name) ?? "";
  return field.slice(field.indexOf(":") + 1);
}

function contentIdOf(text: string): string {
  const bare = text.replace(/[\s\p{Cc}]+/gu, "");
  return /<([^<>]*)>/.exec(bare)?.[1] ?? bare;
}

const endings: Readonly<Record<string, string>> = {
  "application/pdf": ".pdf",
  "application/pgp-signature": ".asc",
  "application/pkcs7-signature": ".p7s",
  "application/x-pkcs7-signature": ".p7s",
  "image/gif": ".gif",
  "image/jpeg": ".jpg",
  "image/png": ".png",
  "image/svg+xml": ".svg",
  "message/rfc822": ".eml",
  "message/global": ".eml",
  "text/calendar": ".ics",
  "text/csv": ".csv",
  "text/html": ".html",
  "text/vcard": ".vcf",
};

function ending(type: string): string {
  return endings[type] ?? (/^(text|message)\//.test(type) ? ".txt" : ".bin");
}
