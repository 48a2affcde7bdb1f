import { Buffer } from "node:buffer";
import type { MessageField } from "../mime/parse.ts";
import { fieldText } from "../mime/parse.ts";

/** Fields that SendGrid writes itself and refuses or doubles, and those that hold for the bytes that were signed. */
const ownFields: ReadonlySet<string> = new Set([
  "arc-authentication-results",
  "arc-message-signature",
  "arc-seal",
  "authentication-results",
  "bcc",
  "cc",
  "content-description",
  "content-disposition",
  "content-id",
  "content-length",
  "content-location",
  "content-md5",
  "content-transfer-encoding",
  "content-type",
  "dkim-signature",
  "domainkey-signature",
  "from",
  "mime-version",
  "received",
  "reply-to",
  "return-path",
  "subject",
  "to",
  "x-sg-eid",
  "x-sg-id",
  "x-smtpapi",
]);
const mostFields = 1000;

/**
 * The message's other fields as SendGrid's API takes them: threading, List and custom fields. An object holds no field
 * twice, so the values of a custom field are joined and of others the first counts.
 */
export function sendgridHeaders(
  fields: readonly MessageField[],
  dropped: readonly string[],
): Readonly<Record<string, string>> {
  const headers = new Map<string, { readonly name: string; value: string }>();
  for (const { name, value } of fields) {
    const lower = name.toLowerCase();
    if (
      ownFields.has(lower) || isDropped(lower, dropped) || value === "" || !/^[!-9;-~]{1,200}$/.test(name)
    ) continue;
    const before = headers.get(lower);
    const text = asciiValue(value);
    if (before === undefined) {
      if (headers.size < mostFields) headers.set(lower, { name, value: text });
    } else if (/^(x-|keywords$|comments$)/.test(lower) && before.value.length + text.length < 10_000) {
      before.value += `, ${text}`;
    }
  }
  return Object.fromEntries([...headers.values()].map(({ name, value }) => [name, value]));
}

function isDropped(name: string, dropped: readonly string[]): boolean {
  return dropped.some((pattern) =>
    pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern
  );
}

/** Encoded words stay as they are written; raw 8-bit text becomes such words (RFC 2047), controls become spaces. */
function asciiValue(value: string): string {
  const plain = value.replace(/\p{Cc}+/gu, " ").trim();
  return /^[\x20-\x7e]*$/.test(plain) ? plain : encodedWords(fieldText(value));
}

function encodedWords(text: string): string {
  const words: string[] = [];
  let run = "";
  for (const character of text) {
    // A word has at most 75 characters (RFC 2047 section 2): 45 bytes are 60 of them.
    if (Buffer.byteLength(run + character) > 45) {
      words.push(run);
      run = "";
    }
    run += character;
  }
  words.push(run);
  return words.map((word) => `=?utf-8?B?${Buffer.from(word).toString("base64")}?=`).join(" ");
}
