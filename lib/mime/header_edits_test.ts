import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { droppedFields, editHeader, messageIdField } from "./header_edits.ts";
import type { HeaderEdits } from "./header_edits.ts";

function edited(header: string, edits: HeaderEdits): string {
  return Buffer.from(editHeader(Buffer.from(header, "latin1"), edits)).toString("latin1");
}

Deno.test("editHeader() drops a field with its folded lines and leaves every other byte", () => {
  const header = "A: 1\r\nBCC:\r\n x@y,\r\n\tz@y\r\nXBcc: no\r\nbcc : q@y\r\nX-A-b: 2\r\nX-A: 3\r\n\r\n";
  assert.equal(edited(header, { dropped: ["bcc", "x-a-*"] }), "A: 1\r\nXBcc: no\r\nX-A: 3\r\n\r\n");
});

Deno.test("editHeader() answers the very bytes given when there is nothing to change", () => {
  const header = Buffer.from("A: 1\r\nTo: b@example.org\r\n\r\n");
  assert.equal(editHeader(header, { dropped: ["bcc"], recipients: ["b@example.org"] }), header);
});

Deno.test("editHeader() finds a field that hides behind a lone CR or LF", () => {
  assert.equal(edited("A: 1\nBcc: x@y\n z@y\nB: 2\r\n\r\n", { dropped: ["bcc"] }), "A: 1\nB: 2\r\n\r\n");
  assert.equal(edited("A: 1\rBcc: x@y\r\nB: 2\r\n\r\n", { dropped: ["bcc"] }), "A: 1\rB: 2\r\n\r\n");
});

Deno.test("editHeader() adds a field on top, in place of the client's own of that name", () => {
  const added = [{ name: messageIdField, value: "id-1" }];
  const given = "A: 1\r\nx-smtp-proxy-message-id: forged\r\n\r\n";
  assert.equal(edited(given, { dropped: [], added }), "X-SMTP-Proxy-Message-ID: id-1\r\nA: 1\r\n\r\n");
  assert.equal(edited("\r\n", { dropped: [], added }), "X-SMTP-Proxy-Message-ID: id-1\r\n\r\n");
  assert.equal(edited("", { dropped: [], added }), "X-SMTP-Proxy-Message-ID: id-1\r\n");
  assert.equal(
    edited(" odd\r\nA: 1\r\n\r\n", { dropped: [], added }),
    " odd\r\nX-SMTP-Proxy-Message-ID: id-1\r\nA: 1\r\n\r\n",
  );
});

Deno.test("editHeader() refuses to add what would become another field or end the header", () => {
  for (const value of ["a\r\nBcc: x@y", "a\r\n\r\nb", "a\nb", "a\r\n \r\n b", "\xfc"]) {
    assert.throws(() => edited("", { dropped: [], added: [{ name: "X", value }] }), TypeError);
  }
  assert.throws(() => edited("", { dropped: [], added: [{ name: "X: y", value: "" }] }), TypeError);
  assert.throws(() => edited("", { dropped: [], recipients: ["a@b\r\nX: y"] }), TypeError);
});

Deno.test("droppedFields() names blind and control fields, signatures and exceptions as settings say", () => {
  const header = "Bcc: x@y\r\nresent-bcc: x@y\r\nDKIM-Signature: v=1;\r\n b=\r\nX-SES-Source-ARN: a\r\n" +
    "X-Mailgun-Drop-Message: yes\r\nx-smtpapi: {}\r\nX-MC-Tags: a\r\nX-Mailer: m\r\nX-SMTPAPI-Not: k\r\n\r\n";
  const names = (settings: Parameters<typeof droppedFields>[0]) =>
    [...edited(header, { dropped: droppedFields(settings) }).matchAll(/^([^\s:]+):/gm)].map((found) =>
      found[1]
    );
  assert.deepEqual(names({}), ["DKIM-Signature", "X-Mailer", "X-SMTPAPI-Not"]);
  assert.deepEqual(names({ strip_dkim: true }), ["X-Mailer", "X-SMTPAPI-Not"]);
  assert.deepEqual(names({ pass_control_headers: true }).length, 7);
});

const name = fc.constantFrom(
  "Bcc",
  "bCC",
  "Resent-Bcc",
  "To",
  "Cc",
  "Subject",
  "X-SES-A",
  "X-Other",
  "DKIM-Signature",
);
const value = fc.stringMatching(/^[ -~\xa0-\xff]{0,40}(\r\n[ \t][!-~]{1,30}){0,3}$/);
const field = fc.tuple(name, fc.constantFrom(":", " :", "\t:"), value).map((parts) =>
  `${parts.join("")}\r\n`
);

Deno.test("editHeader() keeps every field that is not named byte for byte and in its order", () => {
  fc.assert(fc.property(fc.array(field, { maxLength: 12 }), fc.boolean(), (fields, hasEnd) => {
    const header = fields.join("") + (hasEnd ? "\r\n" : "");
    const isGone = (text: string) => /^(bcc|resent-bcc|x-ses-[^:\s]*)\s*:/i.test(text);
    const wanted = fields.filter((text) => !isGone(text)).join("") + (hasEnd ? "\r\n" : "");
    assert.equal(edited(header, { dropped: droppedFields({}) }), wanted);
    const added = [{ name: messageIdField, value: "id" }];
    assert.equal(
      edited(header, { dropped: droppedFields({}), added }),
      `X-SMTP-Proxy-Message-ID: id\r\n${wanted}`,
    );
  }));
});

Deno.test("editHeader() copes with any bytes and never leaves a line that begins a Bcc field", () => {
  const bytes = fc.array(fc.constantFrom("Bcc", ":", "\r", "\n", "\r\n", " ", "a", "\0", "\xff", '"', "<"), {
    maxLength: 40,
  }).map((parts) => parts.join(""));
  fc.assert(fc.property(bytes, (text) => {
    const left = edited(text, { dropped: droppedFields({}) });
    assert.doesNotMatch(left, /(^|[\r\n])bcc[ \t]*:/i);
    edited(text, { dropped: droppedFields({}), recipients: ["a@example.org"] });
  }));
});
