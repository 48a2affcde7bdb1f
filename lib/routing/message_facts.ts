import { fieldText } from "../mime/parse.ts";
import { readHeader } from "../mime/headers.ts";
import { fieldName, splitFields } from "../mime/header_edits.ts";

/** What rules may ask of a message; a fact that is absent is not known. */
export interface MessageFacts {
  readonly id: string;
  /** The envelope's; empty for the null sender. */
  readonly sender: string;
  /** The id of the SMTP account. */
  readonly account?: string;
  /** In bytes. */
  readonly size?: number;
  readonly now: Date;
  /** The addresses of the header From. */
  readonly from?: readonly string[];
  /** Empty where there is none. */
  readonly subject?: string;
  /** The texts of the fields by their names in lower case, of those at least that rules ask for. */
  readonly fields?: ReadonlyMap<string, readonly string[]>;
  readonly hasAttachment?: boolean;
}

/** How far a message has to be read before rules can decide. */
export type Reading = "envelope" | "header" | "parts";

const longestText = 1000;
const mostOfOneName = 10;
const mostSenders = 10;

/**
 * The facts of a header section: ten addresses of From at most, and of the fields with these names (in lower case)
 * ten of each name, their texts cut at 1,000 characters.
 */
export function headerFacts(
  header: Uint8Array,
  names: ReadonlySet<string>,
): Required<Pick<MessageFacts, "from" | "subject" | "fields">> {
  const { from = [], subject = "" } = readHeader(header);
  const fields = new Map<string, string[]>();
  for (const field of names.size === 0 ? [] : splitFields(header)) {
    const name = fieldName(field);
    if (!names.has(name)) continue;
    const texts = fields.get(name) ?? [];
    if (texts.length < mostOfOneName) texts.push(textOf(field));
    fields.set(name, texts);
  }
  return { from: from.slice(0, mostSenders).map(({ address }) => address), subject, fields };
}

function textOf(field: string): string {
  const value = field.slice(field.indexOf(":") + 1, 4 * longestText).replace(/(\r\n?|\n)(?=[ \t])/g, "");
  return fieldText(value).slice(0, longestText);
}
