import type { Mailbox } from "./address.ts";
import { fieldText } from "./parse.ts";
import { listEntries } from "./recipient_fields.ts";

/** An address with the name that is shown for it. */
export interface NamedMailbox extends Mailbox {
  readonly name?: string;
}

/** The mailboxes of an address list (one character per byte, unfolded); what cannot be read for certain is left out. */
export function namedMailboxes(list: string): readonly NamedMailbox[] {
  return listEntries(list).flatMap(({ text, mailbox }) => {
    if (mailbox === undefined) return [];
    const name = displayName(text);
    return [name === "" ? mailbox : { ...mailbox, name }];
  });
}

/** The phrase before the angle brackets, or the comment behind a bare address, as old programs write it. */
function displayName(text: string): string {
  const angle = openingAngle(text);
  if (angle >= 0) return fieldText(unquoted(text.slice(0, angle)));
  const comment = /\(((?:[^()\\]|\\[^])*)\)\s*$/.exec(text)?.[1];
  return comment === undefined ? "" : fieldText(comment.replace(/\\([^])/g, "$1"));
}

function openingAngle(text: string): number {
  let isQuoted = false;
  for (let at = 0; at < text.length; at++) {
    const character = text.charAt(at);
    if (character === "\\") at++;
    else if (character === '"') isQuoted = !isQuoted;
    else if (character === "<" && !isQuoted) return at;
  }
  return -1;
}

function unquoted(phrase: string): string {
  return phrase.replace(/"((?:[^"\\]|\\[^])*)"/g, (_, inner: string) => inner.replace(/\\([^])/g, "$1"));
}
