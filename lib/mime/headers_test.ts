import assert from "node:assert/strict";
import { endOfHeader, readHeader } from "./headers.ts";

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function read(text: string) {
  return readHeader(bytes(text));
}

Deno.test("endOfHeader() finds the blank line, also when it comes first or not at all", () => {
  assert.equal(endOfHeader(bytes("A: b\r\n\r\nbody")), 8);
  assert.equal(endOfHeader(bytes("\r\nbody")), 2);
  assert.equal(endOfHeader(bytes("A: b\r\nC: d\r\n")), -1);
  assert.equal(endOfHeader(bytes("A: b\r\n\r")), -1);
  assert.equal(endOfHeader(bytes("A: b\r\n\r\n"), 5), 8);
});

Deno.test("readHeader() reads the fields we keep, folded or not, in any case", () => {
  const facts = read(
    "Received: x\r\nRECEIVED: y\r\n\tz\r\nfrom: Ann\r\n <a@example.com>\r\nSubject: one\r\n two\r\n" +
      "Message-Id:  <1@x>\r\nDate: now\r\nX-Other: From: nobody\r\n\r\n",
  );
  assert.deepEqual(facts.from?.map((one) => one.address), ["a@example.com"]);
  assert.equal(facts.subject, "one two");
  assert.equal(facts.messageId, "<1@x>");
  assert.equal(facts.hasDate, true);
  assert.equal(facts.hasMessageId, true);
  assert.equal(facts.received, 2);
  assert.equal(facts.brokenLine, undefined);
});

Deno.test("readHeader() counts From fields and reads none of several", () => {
  assert.deepEqual([read("\r\n").fromFields, read("\r\n").from], [0, undefined]);
  const twice = read("From: a@example.com\r\nFrom : b@evil.test\r\n\r\n");
  assert.deepEqual([twice.fromFields, twice.from], [2, undefined]);
  assert.equal(read("From: nobody\r\n\r\n").from, undefined);
  assert.equal(read("From: a@example.com\0\r\n\r\n").from, undefined);
});

Deno.test("readHeader() names the first line that is no field", () => {
  assert.equal(read("From: a@b.c\r\nhello\r\nTo: x\r\n\r\n").brokenLine, 2);
  assert.equal(read(" folded\r\nFrom: a@b.c\r\n\r\n").brokenLine, 1);
  assert.equal(read(": empty\r\n\r\n").brokenLine, 1);
  assert.equal(read("Bad Name: x\r\n\r\n").brokenLine, 1);
});

Deno.test("readHeader() decodes encoded words, UTF-8 and old 8-bit text", () => {
  assert.equal(read("Subject: =?utf-8?B?w6Q=?= =?UTF-8?Q?_=C3=B6?= x\r\n\r\n").subject, "ä ö x");
  assert.equal(read("Subject: grün\r\n\r\n").subject, "grün");
  assert.equal(
    readHeader(Uint8Array.from([...bytes("Subject: gr"), 0xfc, ...bytes("n\r\n\r\n")])).subject,
    "grün",
  );
});

Deno.test("readHeader() reads no From whose quotes end elsewhere in another charset", () => {
  const from = (text: string) =>
    readHeader(Uint8Array.from(`From: ${text}\r\n`, (character) => character.charCodeAt(0))).from;
  // In Shift_JIS the first two bytes are one character, and the quotes end behind it.
  assert.equal(from('"\x83\\" <b@evil.test>, " <a@x.test>'), undefined);
  assert.deepEqual(from("J\xfcrgen <a@x.test>")?.map(({ address }) => address), ["a@x.test"]);
  assert.deepEqual(from('"J\xc3\xbcrgen \\"J\\"" <a@x.test>')?.map(({ address }) => address), ["a@x.test"]);
});

Deno.test("readHeader() takes no From whose folded string or comment hides an address from some readers", () => {
  const from = (text: string) => read(`From: ${text}\r\n\r\n`).from?.map(({ address }) => address);
  for (
    const forged of [
      '"Ann\r\n <b@evil.test>, " <a@x.test>',
      '"Ann\r\n <b\\@evil.test>, " <a@x.test>',
      "(Ann\r\n <b@evil.test>, )<a@x.test>",
      "(Ann (x)\r\n (<b@evil.test>, ))a@x.test",
      // Some end it at the fold and take what stands before that for the address.
      '"b@evil.test\r\n " <a@x.test>',
      '"Ann <b@evil.test>\r\n of X" <a@x.test>',
      '"a@x.test and\r\n others"\r\n <a@x.test>',
      '"=?utf-8?q?b=40evil.test?=\r\n " <a@x.test>',
      "(b@evil.test\r\n x) <a@x.test>",
      "=?utf-8?q?b=40evil.test?= (x\r\n y) <a@x.test>",
      '"b@evil.test" (x\r\n y) <a@x.test>',
      '"=?utf-8?q?b?=\r\n =?utf-8?q?=40evil.test?=" <a@x.test>',
      // What is not folded itself may stand in front of what is.
      '"b@evil.test"(x\r\n y)@x.test',
      '("Ann\r\n ")"<b@evil.test>"@x.test',
      "=?utf-8?q?b=40evil.test?= (x\r\n y): a@x.test;",
      "=?utf-8?q?b=40evil.test?= (x\r\n y):;, a@x.test",
      '"b@evil.test" "Ann\r\n of" <a@x.test>',
      '"Ann\r\n " "<b@evil.test>" <a@x.test>',
      '<"b@evil.test"(x\r\n y)@x.test>',
      // What follows the fold goes on with the address.
      "a@x.test (x\r\n .evil.test)",
      "a@(x\r\n evil.test, y)x.test",
      "<a@(x\r\n evil.test, y)x.test>",
      "Group (x\r\n b)@evil.test: a@x.test;",
      // Each reader decodes it in its own way.
      '"=?utf-7?q?b+AEA-evil.test?=\r\n " <a@x.test>',
      "=?cp037?q?=82=7C=85=A5=89=93=4B=A3=85=A2=A3?= (x\r\n y) <a@x.test>",
      '"=?utf-16?b?/v8AYgBAAGUAdgBpAGwALgB0AGUAcwB0?=\r\n " <a@x.test>',
      '"=?utf-8?q?b=4?=\r\n =?utf-8?q?0evil.test?=" <a@x.test>',
      '"=?utf-8?b?Yk?=\r\n =?utf-8?b?BldmlsLnRlc3Q?=" <a@x.test>',
      '"=?utf-8?q?=3D=3Futf-8=3Fq=3Fb=40evil=3Ftest=3F=3D?=\r\n " <a@x.test>',
      '<"a\r\n b"@x.test>',
      "Ann\n <b@evil.test>, <a@x.test>",
    ]
  ) assert.equal(from(forged), undefined, forged);
  for (
    const plain of [
      '"Ann, of\r\n Example" <a@x.test>',
      "Ann\r\n\t(of\r\n Example)\r\n <a@x.test>",
      "(=?utf-8?q?a?=\r\n =?utf-8?q?b?=) a@x.test",
      '"=?utf-8?q?a?=\r\n =?utf-8?q?b?=" <a@x.test>',
      '"Ann" <a@x.test> (of\r\n Example)',
      "=?utf-8?q?M=C3=BC?= (of\r\n Example) <a@x.test>",
      "<a@x.test>\r\n ",
      "a\r\n @x.test",
    ]
  ) assert.deepEqual(from(plain), ["a@x.test"], plain);
});

Deno.test("readHeader() gives storable text: no NUL, well-formed, bounded", () => {
  assert.equal(read("Subject: a\0b\r\n\r\n").subject, "a b");
  assert.equal(read(`Subject: ${"x".repeat(5000)}\r\n\r\n`).subject?.length, 998);
  const halved = read(`Subject: ${"x".repeat(997)}😀\r\n\r\n`).subject ?? "";
  assert.ok(halved.isWellFormed());
  assert.equal(read("Subject: =?utf-8?q?=00=0A?=\r\n\r\n").subject, " ");
});

Deno.test("readHeader() takes an empty Message-ID for one that is there", () => {
  assert.equal(read("Message-ID: \r\n\r\n").hasMessageId, true);
  assert.equal(read("Subject: x\r\n\r\n").hasMessageId, false);
});

Deno.test("readHeader() copes with any bytes", () => {
  let seed = 1;
  for (let round = 0; round < 300; round++) {
    const block = Uint8Array.from({ length: 200 }, () => {
      seed = (seed * 1103515245 + 12345) & 0x7fffffff;
      return [13, 10, 58, 32, 70, 114, 111, 109, 60, 64, 62, 0, 255][(seed >> 16) % 13] ?? 0;
    });
    readHeader(block);
  }
});
