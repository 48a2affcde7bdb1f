import { normalDomain } from "../mime/address.ts";

/** Longest pattern, in characters. */
export const longestPattern = 320;
/** Most `*` of one pattern. */
export const mostStars = 8;

/** Says whether a text, given in lower case, is one that a pattern means. */
export type Matcher = (text: string) => boolean;

/**
 * A pattern for any text: `*` stands for any run of characters, every other character for itself in either case, and
 * the whole text has to match. Takes time in proportion to the text, whatever the pattern.
 */
export function textMatcher(pattern: string): Matcher {
  const [head = "", ...pieces] = pattern.toLowerCase().split("*");
  const tail = pieces.pop();
  if (tail === undefined) return (text) => text === head;
  const middle = pieces.filter((piece) => piece !== "");
  return (text) => {
    if (text.length < head.length + tail.length || !text.startsWith(head) || !text.endsWith(tail)) {
      return false;
    }
    let at = head.length;
    for (const piece of middle) {
      const found = text.indexOf(piece, at);
      if (found < 0) return false;
      at = found + piece.length;
    }
    return at <= text.length - tail.length;
  };
}

/** A pattern for domains, with one `*` at most, such as `example.com` or `*.example.com`; matches names as `comparableDomain` makes them. */
export function domainMatcher(pattern: string): Matcher {
  return textMatcher(pattern.split(".").map(comparableLabel).join("."));
}

/**
 * A pattern for addresses: `someone@example.com`, `*@example.com`, or without `@` a pattern for the domain; `<>` is
 * the null sender. Matches addresses as `comparableAddress` makes them.
 */
export function addressMatcher(pattern: string): Matcher {
  if (pattern === "<>") return (address) => address === "";
  const at = pattern.lastIndexOf("@");
  const ofDomain = domainMatcher(pattern.slice(at + 1));
  const ofLocal = textMatcher(at < 0 ? "*" : pattern.slice(0, at));
  return (address) => {
    const end = address.lastIndexOf("@");
    return end >= 0 && ofDomain(address.slice(end + 1)) && ofLocal(address.slice(0, end));
  };
}

/** An address in lower case, its domain as A-labels; empty for the null sender. */
export function comparableAddress(address: string): string {
  const at = address.lastIndexOf("@");
  if (at < 0) return address.toLowerCase();
  return `${address.slice(0, at).toLowerCase()}@${comparableDomain(address.slice(at + 1))}`;
}

/** A domain in lower case, as A-labels where it is a name at all. */
export function comparableDomain(domain: string): string {
  return normalDomain(domain) ?? domain.toLowerCase();
}

function comparableLabel(label: string): string {
  return label.includes("*") ? label : comparableDomain(label);
}
