import assert from "node:assert/strict";
import { bareAddress, composeMail } from "./compose.ts";

const text = {
  from: "a@example.com",
  to: ["b@example.org", "c@example.org"],
  subject: "Hello",
  body: "Test message",
  html: "",
  files: [],
};

Deno.test("composeMail() writes a plain mail with CRLF, Date and Message-ID", async () => {
  const mail = await composed(text, 1, 1);
  assert.match(mail, /^From: a@example\.com\r\nTo: b@example\.org, c@example\.org\r\nSubject: Hello\r\n/);
  assert.match(mail, /^Message-ID: <[\w-]+@example\.com>\r$/m);
  assert.match(mail, /^Date: .+ \+0000\r$/m);
  assert.match(mail, /^Content-Type: text\/plain; charset=utf-8\r$/m);
  assert.match(mail, /\r\n\r\nTest message/);
  assert.doesNotMatch(mail, /[^\r]\n/);
});

Deno.test("composeMail() numbers the mails of a row in subject and body", async () => {
  const mail = await composed(text, 2, 3);
  assert.match(mail, /^Subject: .*2.*3/m);
  assert.match(mail, /^-- Email 2 of 3 --/m);
});

Deno.test("composeMail() encodes what is not ASCII", async () => {
  const mail = await composed(
    { ...text, from: "Jörg <a@example.com>", subject: "Grüße", body: "Größe" },
    1,
    1,
  );
  assert.match(mail, /^Subject: =\?UTF-8\?/m);
  assert.match(mail, /^From: =\?UTF-8\?[^ ]+ <a@example\.com>\r$/m);
  assert.doesNotMatch(mail, /[^\p{ASCII}]/u);
});

Deno.test("composeMail() nests the alternatives inside the mixed mail and detects types by name, else by content", async () => {
  const bytes = new TextEncoder().encode("plain words\n");
  const files = [
    { name: "table.csv", bytes },
    { name: "README", bytes },
    { name: "document", bytes: new TextEncoder().encode("%PDF-1.7 ...") },
    { name: "blob", bytes: new Uint8Array([0, 1, 2, 3]) },
  ];
  const mail = await composed({ ...text, html: "<p>Hi</p>", files }, 1, 1);
  const types = [...mail.matchAll(/^Content-Type: ([\w/-]+)/gm)].map((match) => match[1]);
  assert.deepEqual(types, [
    "multipart/mixed",
    "multipart/alternative",
    "text/plain",
    "text/html",
    "text/csv",
    "text/plain",
    "application/pdf",
    "application/octet-stream",
  ]);
});

Deno.test("bareAddress() leaves the display name out", () => {
  assert.equal(bareAddress("Jörg <a@example.com>"), "a@example.com");
  assert.equal(bareAddress(" a@example.com"), "a@example.com");
});

async function composed(...args: Parameters<typeof composeMail>): Promise<string> {
  return new TextDecoder().decode(await composeMail(...args));
}
