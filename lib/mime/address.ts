import { domainToASCII } from "node:url";
import { parseAddress } from "../network/cidr.ts";
import { decodeWords } from "./encoded_words.ts";

/** One mail address taken apart. */
export interface Mailbox {
  /** As given, quotes included. */
  readonly local: string;
  /** Lower-case A-labels, or an address literal in brackets. */
  readonly domain: string;
  /** `local@domain`. */
  readonly address: string;
  /** A part of it, as given, is not ASCII, so that it needs SMTPUTF8 (RFC 6531). */
  readonly isInternational: boolean;
}

/** RFC 5321 4.5.3.1: a path of 256 octets less its angle brackets. */
const longestAddress = 254;
const atom =
  /^[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\u{10ffff}-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u0080-\u{10ffff}-]+)*$/u;
const quoted = /^"([\x20\x21\x23-\x5b\x5d-\x7e\u00a0-\u{10ffff}]|\\[\x20-\x7e])*"$/u;
/** Characters that make one address look like another, and C1 controls. */
const deceptive = /[\u0080-\u009f\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff\ufffd]/;

/** `local@domain` (RFC 5321 section 4.1.2, without angle brackets); undefined when it is not one. */
export function parseMailbox(text: string): Mailbox | undefined {
  if (text.length > longestAddress || deceptive.test(text)) return undefined;
  const at = text.lastIndexOf("@");
  if (at < 1) return undefined;
  const local = text.slice(0, at);
  const given = text.slice(at + 1);
  if (octetsOf(local) > 64 || !(atom.test(local) || quoted.test(local))) return undefined;
  const domain = given.startsWith("[") ? normalLiteral(given) : normalDomain(given);
  if (domain === undefined) return undefined;
  const address = `${local}@${domain}`;
  const isInternational = !isAscii(text);
  return octetsOf(address) <= longestAddress ? { local, domain, address, isInternational } : undefined;
}

function octetsOf(text: string): number {
  return isAscii(text) ? text.length : new TextEncoder().encode(text).length;
}

/** A domain name as lower-case A-labels, so that two spellings compare equal; undefined when it is none. */
export function normalDomain(text: string): string | undefined {
  if (text === "" || text.length > 253) return undefined;
  if (isPlainDomain(text)) return text;
  if (/[\s%/\\?#@:[\]]/.test(text)) return undefined;
  const ascii = domainToASCII(text).toLowerCase();
  // The URL standard reads names such as 0x7f.1 as IPv4 addresses; a mail domain is never a bare address.
  return isPlainDomain(ascii) ? ascii : undefined;
}

/** An address as a service without SMTPUTF8 can write it: the domain as A-labels; undefined when there is no such form. */
export function asciiAddress(address: string): string | undefined {
  if (isAscii(address)) return address;
  const at = address.lastIndexOf("@");
  const domain = normalDomain(address.slice(at + 1));
  return at < 1 || domain === undefined || !isAscii(address.slice(0, at))
    ? undefined
    : `${address.slice(0, at)}@${domain}`;
}

function isAscii(text: string): boolean {
  return !/[^\p{ASCII}]/u.test(text);
}

function isPlainDomain(text: string): boolean {
  return text.length <= 253 &&
    /^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$/.test(text) &&
    !/(^|\.)\d+$/.test(text);
}

function normalLiteral(text: string): string | undefined {
  const inner = /^\[(IPv6:)?([0-9a-fA-F:.]+)\]$/i.exec(text);
  const address = inner?.[2];
  if (address === undefined || parseAddress(address) === undefined) return undefined;
  const isIpv6 = address.includes(":");
  return isIpv6 === (inner?.[1] !== undefined)
    ? `[${isIpv6 ? "IPv6:" : ""}${address.toLowerCase()}]`
    : undefined;
}

/**
 * The addresses of an address list such as From (RFC 5322 section 3.4), whose folds are still in it; undefined when it
 * cannot be read for certain.
 */
export function parseAddressList(text: string, limit = 100): readonly Mailbox[] | undefined {
  const found: Mailbox[] = [];
  const reader = new ListReader(text);
  for (let entry = reader.next(); entry !== "end"; entry = reader.next()) {
    if (entry === "broken") return undefined;
    const mailbox = parseMailbox(entry);
    if (mailbox === undefined || found.length === limit) return undefined;
    // Readers that decode it would show another address (RFC 2047 section 5 forbids it there).
    if (mailbox.local.includes("=?")) return undefined;
    found.push(mailbox);
  }
  return reader.hidesAddress ? undefined : found;
}

/** One entry of a list as it was read; `angled` is what stood in angle brackets. */
interface Entry {
  readonly bare: string;
  /** What stands outside of quotes, comments and angle brackets, each of which leaves its opening character. */
  readonly plain: string;
  readonly angled: string | undefined;
  /** A comment behind something else of `bare` is folded. */
  readonly isFolded: boolean;
}

/** Reads one address after another; whatever is ambiguous is broken, because readers of mail would differ about it. */
class ListReader {
  readonly #text: string;
  #at = 0;
  #inGroup = false;
  #hasFoldedPart = false;
  #showsAddress = false;

  constructor(text: string) {
    this.#text = text;
  }

  /**
   * Some readers end a comment or a quoted string where it is folded: what stands in another part of the text is then an
   * address to them. Known at the end of the text.
   */
  get hidesAddress(): boolean {
    return this.#hasFoldedPart && this.#showsAddress;
  }

  next(): string {
    let bare = "";
    let isFolded = false;
    let plain = "";
    // Some readers show the address that stands before the angle brackets instead of the one in them.
    let hasBareAt = false;
    let angled: string | undefined;
    while (this.#at < this.#text.length) {
      const character = this.#text.charAt(this.#at);
      if (character === "," || (character === ";" && this.#inGroup)) {
        this.#at++;
        if (character === ";") this.#inGroup = false;
        if (angled === undefined && bare.trim() === "") continue;
        return this.#entry({ bare, plain, angled, isFolded });
      }
      if (character === ":") {
        if (this.#inGroup || angled !== undefined || bare.includes("@") || isFolded) return "broken";
        this.#inGroup = true;
        this.#at++;
        bare = "";
      } else if (character === "(") {
        const comment = this.#comment();
        if (comment === undefined) return "broken";
        isFolded ||= comment.includes("\n") && bare.trim() !== "";
        bare += " ";
        plain += character;
      } else if (character === '"') {
        const string = this.#quotedString();
        if (string === undefined || angled !== undefined) return "broken";
        bare += string;
        plain += character;
      } else if (character === "<") {
        plain += character;
        angled = angled === undefined && !hasBareAt ? this.#angled() : undefined;
        if (angled === undefined) return "broken";
      } else if (character === ">" || character === ";") {
        return "broken";
      } else {
        if (angled !== undefined && character.trim() !== "") return "broken";
        hasBareAt ||= character === "@";
        bare += character;
        plain += character;
        this.#at++;
      }
    }
    if (this.#inGroup) return "broken";
    return this.#entry({ bare, plain, angled, isFolded });
  }

  #entry({ bare, plain, angled, isFolded }: Entry): string {
    if (isDoubtful(plain)) return "broken";
    this.#showsAddress ||= wordsShowAddress(plain);
    if (angled === undefined && bare.trim() === "") return "end";
    // What follows the fold of a comment belongs to the address for some readers.
    if (angled === undefined && isFolded) return "broken";
    return angled ?? withoutSpaces(bare);
  }

  #comment(): string | undefined {
    const start = this.#at;
    let depth = 0;
    for (; this.#at < this.#text.length; this.#at++) {
      const character = this.#text.charAt(this.#at);
      if (character === "\\") this.#at++;
      else if (character === "(") depth++;
      else if (character === ")" && --depth === 0) return this.#part(start);
    }
    return undefined;
  }

  #quotedString(): string | undefined {
    const start = this.#at;
    for (this.#at++; this.#at < this.#text.length; this.#at++) {
      const character = this.#text.charAt(this.#at);
      if (character === "\\") this.#at++;
      else if (character === '"') return this.#part(start);
    }
    return undefined;
  }

  #part(start: number): string {
    const part = this.#text.slice(start, ++this.#at);
    this.#hasFoldedPart ||= part.includes("\n");
    this.#showsAddress ||= part.includes("@") || wordsShowAddress(part);
    return part;
  }

  #angled(): string | undefined {
    let address = "";
    for (this.#at++; this.#at < this.#text.length;) {
      const character = this.#text.charAt(this.#at);
      if (character === ">") {
        this.#at++;
        return withoutRoute(withoutSpaces(address));
      }
      if (character === "<") return undefined;
      if (character === '"') {
        const string = this.#quotedString();
        if (string === undefined) return undefined;
        address += string;
      } else if (character === "(") {
        const comment = this.#comment();
        if (comment === undefined || comment.includes("\n")) return undefined;
        address += " ";
      } else {
        address += character;
        this.#at++;
      }
    }
    return undefined;
  }
}

/**
 * A quoted string, an encoded word and a character that may stand in neither bare (RFC 5322 section 3.2.3) are each read
 * alike by all; where two of them meet, some readers end a name, or begin an address, where others do not. Encoded words
 * that stand apart and are as RFC 2047 section 5 has them in a phrase may stand beside a string.
 */
function isDoubtful(plain: string): boolean {
  const hasWord = plain.includes("=?");
  const hasStray = /[)[\]\\]/.test(plain);
  if (!plain.includes('"')) return hasWord && hasStray;
  return hasStray || (hasWord && plain.replaceAll(encodedWord, " ").includes("=?"));
}

const encodedWord = /(?<=^|\s)=\?[\w-]{1,40}\?[bq]\?[\w!*+/=-]{0,75}\?=(?=\s|$)/gi;

/** Whether encoded words may show an address: not those that all readers decode alike to a text without one. */
function wordsShowAddress(text: string): boolean {
  if (!text.includes("=?")) return false;
  let decoded = "";
  const rest = text.replaceAll(plainWord, (word) => {
    decoded += decodeWords(word);
    return " ";
  });
  return rest.includes("=?") || decoded.includes("@") || decoded.includes("=?");
}

/** An encoded word without a character cut off at its end, in a charset in which ASCII stands for itself. */
const plainWord =
  /=\?(?:utf-8|us-ascii|iso-8859-\d{1,2}|windows-125\d|koi8-[ru])\?(?:q\?(?:[!-<>@-~]|=[\da-f]{2})*|b\?(?:[\w+/]{4})*(?:[\w+/]{2}==|[\w+/]{3}=)?)\?=/gi;

/** Drops an obsolete source route: `@a,@b:c@d` is `c@d` (RFC 5322 section 4.4). */
function withoutRoute(address: string): string {
  const route = /^@[^":]*:/.exec(address);
  return route === null ? address : address.slice(route[0].length);
}

/** Removes folding white space around the parts; white space within an atom stays and makes the address invalid. */
function withoutSpaces(text: string): string {
  const trimmed = text.trim();
  // Far too long to be an address; the expressions below take the square of a text's length.
  if (trimmed.length > 2 * longestAddress) return trimmed;
  return trimmed.replace(/\s*@\s*(?=[^"]*$)/, "@").replace(/\s*\.\s*(?=[^"]*$)/g, ".");
}
