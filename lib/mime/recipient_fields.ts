import { Buffer } from "node:buffer";
import { type Mailbox, parseAddressList } from "./address.ts";

/** One entry of an address list as it is written, and the group that it stands in. */
export interface ListEntry {
  /** Display name, comments and inner folds included; white space around it is not. */
  readonly text: string;
  /** Absent for what cannot be read for certain. */
  readonly mailbox?: Mailbox;
  /** The group's name as it is written. */
  readonly group?: string;
}

/** What can be compared: local parts are told apart by case nowhere. */
export function sameAddress(address: string): string {
  return address.toLowerCase();
}

/** Fields (one character per byte) whose To and Cc name nobody but the wanted addresses. */
export interface RecipientFields {
  readonly fields: readonly string[];
  /** A Bcc field with those who are in neither. */
  readonly bcc?: string;
}

/** Takes every address that is not wanted out of To and Cc; what needs no change stays, several To or Cc become one. */
export function onlyRecipients(fields: readonly string[], addresses: readonly string[]): RecipientFields {
  const wanted = new Set(addresses.map(sameAddress));
  const shown = new Set<string>();
  const kept: string[] = [];
  const isSeen = { to: false, cc: false };
  for (const field of fields) {
    const name = /^(to|cc)[ \t]*:/i.exec(field)?.[1]?.toLowerCase();
    if (name !== "to" && name !== "cc") kept.push(field);
    else if (!isSeen[name]) {
      isSeen[name] = true;
      const same = fields.filter((other) => new RegExp(`^${name}[ \t]*:`, "i").test(other));
      kept.push(...recipientField(same, wanted, shown));
    }
  }
  const blind = addresses.filter((address) => !shown.has(sameAddress(address)));
  return blind.length === 0
    ? { fields: kept }
    : { fields: kept, bcc: foldedList("Bcc", blind.map(rawText), ",") };
}

/** What is left of the fields of one name: none or one. */
function recipientField(
  fields: readonly string[],
  wanted: ReadonlySet<string>,
  shown: Set<string>,
): readonly string[] {
  const [first = ""] = fields;
  const entries = fields.flatMap((field) => listEntries(field.slice(field.indexOf(":") + 1)));
  const kept = entries.filter(({ text, mailbox, group }) =>
    mailbox === undefined ? text === "" && group !== undefined : wanted.has(sameAddress(mailbox.address))
  );
  for (const { mailbox } of kept) if (mailbox !== undefined) shown.add(sameAddress(mailbox.address));
  if (fields.length === 1 && kept.length === entries.length) return [first];
  if (kept.length === 0) return [];
  return [foldedList(first.slice(0, first.indexOf(":")).trimEnd(), groupedTexts(kept), "")];
}

/** The entries of a list with their groups around them, each but the last followed by what parts it from the next. */
function groupedTexts(entries: readonly ListEntry[]): string[] {
  return entries.map(({ text, group }, index) => {
    const isFirst = group !== undefined && entries[index - 1]?.group !== group;
    const isLast = group !== undefined && entries[index + 1]?.group !== group;
    const after = index === entries.length - 1 ? "" : ",";
    return `${isFirst ? `${group}:${text === "" ? "" : " "}` : ""}${text}${isLast ? ";" : ""}${after}`;
  });
}

/** A field of these texts, folded before the one that would make a line longer than 76 characters. */
function foldedList(name: string, texts: readonly string[], separator: string): string {
  let field = `${name}:`;
  for (const [index, text] of texts.entries()) {
    const part = index === texts.length - 1 ? text : text + separator;
    const column = field.length - (field.lastIndexOf("\n") + 1);
    const length = part.search(/[\r\n]|$/);
    field += index > 0 && column + 1 + length > 76 ? `\r\n ${part}` : ` ${part}`;
  }
  return `${field}\r\n`;
}

/** The entries of an address list (one character per byte); an empty group is one entry without text. */
export function listEntries(list: string): readonly ListEntry[] {
  const entries: ListEntry[] = [];
  let start = 0;
  let group: string | undefined;
  let members = 0;
  const end = (at: number) => {
    const text = trimmed(list.slice(start, at));
    start = at + 1;
    if (text === "") return;
    members++;
    const [mailbox] = parseAddressList(decoded(text), 1) ?? [];
    entries.push({
      text,
      ...(mailbox === undefined ? {} : { mailbox }),
      ...(group === undefined ? {} : { group }),
    });
  };
  for (let at = 0; at <= list.length; at = afterPart(list, at)) {
    const character = list.charAt(at);
    if (character === ":" && group === undefined) {
      group = trimmed(list.slice(start, at));
      members = 0;
      start = at + 1;
    } else if (character === "," || character === ";" || character === "") {
      end(at);
      if (character === ";" && group !== undefined) {
        if (members === 0) entries.push({ text: "", group });
        group = undefined;
      }
    }
  }
  return entries;
}

/** The position after a quoted string, comment, angle or domain literal that begins here, else the next. */
function afterPart(list: string, at: number): number {
  const close = { '"': '"', "(": ")", "<": ">", "[": "]" }[list.charAt(at)];
  if (close === undefined) return at + 1;
  let depth = 0;
  for (let next = at + 1; next < list.length; next++) {
    const character = list.charAt(next);
    if (character === "\\") next++;
    else if (character === "(" && close === ")") depth++;
    else if (character === '"' && close === ">") next = afterPart(list, next) - 1;
    else if (character === close && depth-- === 0) return next + 1;
  }
  return list.length;
}

/** Without the white space around it; a byte above 127 is never white space here. */
function trimmed(text: string): string {
  return text.replace(/^[ \t\r\n]+/, "").replace(/(?<![ \t\r\n])[ \t\r\n]+$/, "");
}

/** UTF-8 where the bytes are UTF-8 (RFC 6532), else as they are. */
function decoded(text: string): string {
  if (!/[\x80-\xff]/.test(text)) return text;
  return Buffer.from(text, "latin1").toString("utf8");
}

function rawText(address: string): string {
  // deno-lint-ignore no-control-regex -- a line end in an address would begin another field
  if (/[\x00-\x1f\x7f]/.test(address)) {
    throw new TypeError(`Cannot write address: current value is ${JSON.stringify(address)}`);
  }
  return Buffer.from(address, "utf8").toString("latin1");
}
