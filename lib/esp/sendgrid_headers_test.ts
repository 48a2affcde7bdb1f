import assert from "node:assert/strict";
import { decodeWords } from "../mime/encoded_words.ts";
import { sendgridHeaders } from "./sendgrid_headers.ts";

function headers(lines: readonly string[], dropped: readonly string[] = []) {
  return sendgridHeaders(
    lines.map((line) => ({
      name: line.slice(0, line.indexOf(":")),
      value: line.slice(line.indexOf(":") + 2),
    })),
    dropped,
  );
}

Deno.test("sendgridHeaders() keeps threading, List and custom fields as they are written", () => {
  const lines = [
    "Message-ID: <1@x>",
    "References: <0@x> <1@x>",
    "List-Unsubscribe: <https://x.test/u>",
    "Auto-Submitted: auto-generated",
    "Date: Mon, 23 Nov 2026 00:00:00 +0000",
    "X-Words: =?utf-8?q?=C3=BC?=",
  ];
  assert.deepEqual(
    headers(lines),
    Object.fromEntries(
      lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 2)]),
    ),
  );
});

Deno.test("sendgridHeaders() leaves out what SendGrid writes itself, what was signed and what is to be dropped", () => {
  const own = [
    "To",
    "CC",
    "bcc",
    "From",
    "Subject",
    "Reply-To",
    "Received",
    "DKIM-Signature",
    "Content-Type",
  ];
  const more = ["Content-Transfer-Encoding", "MIME-Version", "X-SG-ID", "x-sg-eid", "ARC-Seal", "X-SMTPAPI"];
  assert.deepEqual(headers([...own, ...more].map((name) => `${name}: v`)), {});
  assert.deepEqual(headers(["X-SES-A: 1", "X-MC: 1", "X-Other: 1"], ["x-ses-*", "x-mc"]), { "X-Other": "1" });
  assert.deepEqual(headers(["X-Empty: ", "X Y: 1", "Größe: 1"]), {});
});

Deno.test("sendgridHeaders() names no field twice: custom values are joined, of others the first counts", () => {
  assert.deepEqual(
    headers(["X-A: 1", "x-a: 2", "References: <1>", "references: <2>", "Keywords: k", "Keywords: l"]),
    {
      "X-A": "1, 2",
      "References": "<1>",
      "Keywords": "k, l",
    },
  );
});

Deno.test("sendgridHeaders() writes ASCII: raw text becomes encoded words of at most 75 characters", () => {
  const text = "Größe ".repeat(40).trim();
  const value = headers([`X-A: ${text.replace(/[^ -~]/g, (one) => one)}`])["X-A"] ?? "";
  assert.match(value, /^[\x20-\x7e]+$/);
  for (const word of value.split(" ")) assert.ok(word.length <= 75, word);
  assert.equal(decodeWords(value), text);
  assert.equal(headers(["X-B: a\tb\x00c"])["X-B"], "a b c");
});
