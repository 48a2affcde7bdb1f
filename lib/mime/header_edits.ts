import { Buffer } from "node:buffer";
import { latin1Bytes } from "./latin1.ts";
import { onlyRecipients } from "./recipient_fields.ts";
import type { RecipientFields } from "./recipient_fields.ts";

/** What is changed in a message's header section; every field that is not named keeps its bytes. */
export interface HeaderEdits {
  /** Fields to leave out: names in lower case, and beginnings of names that end in `*`. */
  readonly dropped: readonly string[];
  /** To, Cc and a Bcc field name exactly these addresses afterwards; absent leaves To and Cc as they are. */
  readonly recipients?: readonly string[];
  /** Fields that go on top, in place of the message's own ones of the same name. */
  readonly added?: readonly HeaderField[];
}

/** One field to add; its value is ASCII and, where it has several lines, already folded. */
export interface HeaderField {
  readonly name: string;
  readonly value: string;
}

/** The field that carries our message id where a service keeps the header and takes no id beside it. */
export const messageIdField = "X-SMTP-Proxy-Message-ID";

/** Fields that name blind recipients: nobody may see them. */
export const blindFields: readonly string[] = ["bcc", "resent-bcc"];

/** Fields by which a sender steers an email service's account; a client may do so only where settings say it. */
export const controlFields: readonly string[] = [
  "x-ses-*",
  "x-mailgun-*",
  "x-smtpapi",
  "x-mc-*",
  "x-msys-api",
  "x-pm-*",
  "x-mj-*",
  "x-mailjet-*",
  "x-sg-*",
  "x-ms-exchange-organization-*",
];

/** The names that go from every message that leaves by an email service with these settings. */
export function droppedFields(settings: {
  readonly strip_dkim?: boolean | undefined;
  readonly pass_control_headers?: boolean | undefined;
}): readonly string[] {
  return [
    ...blindFields,
    ...(settings.strip_dkim === true ? ["dkim-signature"] : []),
    ...(settings.pass_control_headers === true ? [] : controlFields),
  ];
}

/** The header section with these changes; throws when a field to add could break out of its place. */
export function editHeader(header: Uint8Array, edits: HeaderEdits): Uint8Array {
  const { dropped, recipients, added = [] } = edits;
  const isDropped = nameFilter([...dropped, ...added.map(({ name }) => name.toLowerCase())]);
  const fields = splitFields(header);
  const rest = fields.filter((field) => !isDropped(fieldName(field)));
  const { fields: kept, bcc }: RecipientFields = recipients === undefined
    ? { fields: rest }
    : onlyRecipients(rest, recipients);
  const top = [...added.map(lineOf), ...(bcc === undefined ? [] : [bcc])];
  const isSame = top.length === 0 && kept.length === fields.length &&
    kept.every((field, index) => field === fields[index]);
  if (isSame) return header;
  // A first line that begins with white space would otherwise continue the field before it.
  const from = /^[ \t]/.test(kept[0] ?? "") ? 1 : 0;
  return latin1Bytes([...kept.slice(0, from), ...top, ...kept.slice(from)].join(""));
}

/** The fields of a header section, each with its folded lines and line ends; a blank line is one of its own. */
export function splitFields(header: Uint8Array): readonly string[] {
  const text = Buffer.from(header.buffer, header.byteOffset, header.byteLength).toString("latin1");
  // Some readers take a lone CR or LF for a line end, so a field may hide behind one.
  return text === "" ? [] : text.split(/(?<=\n|\r(?!\n))(?![ \t])/);
}

/** A field's name in lower case; empty for what is no field. */
export function fieldName(field: string): string {
  const colon = field.indexOf(":");
  return colon < 0 ? "" : field.slice(0, colon).trimEnd().toLowerCase();
}

function nameFilter(names: readonly string[]): (name: string) => boolean {
  const exact = new Set(names.filter((name) => !name.endsWith("*")));
  const beginnings = names.filter((name) => name.endsWith("*")).map((name) => name.slice(0, -1));
  return (name) => exact.has(name) || beginnings.some((beginning) => name.startsWith(beginning));
}

function lineOf({ name, value }: HeaderField): string {
  if (!/^[!-9;-~]+$/.test(name) || !/^[\x20-\x7e\t]*(\r\n[ \t]+[\x21-\x7e][\x20-\x7e\t]*)*$/.test(value)) {
    throw new TypeError(`Cannot add field: current value is ${JSON.stringify(`${name}: ${value}`)}`);
  }
  return `${name}: ${value}\r\n`;
}
