import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { fieldText, parseMessage } from "./parse.ts";
import type { ParsedMessage } from "./parse.ts";
import { TooManyParts } from "./parts.ts";

async function parsed(text: string, encoding: BufferEncoding = "latin1"): Promise<ParsedMessage> {
  return await parseMessage(Buffer.from(text.replace(/\r?\n/g, "\r\n"), encoding));
}

function bodies(message: ParsedMessage): Record<string, string> {
  return Object.fromEntries(message.bodies.map((body) => [body.type, [...body.text()].join("")]));
}

function files(message: ParsedMessage): readonly string[] {
  return message.attachments.map((file) =>
    [file.type, file.fileName, file.isInline ? "inline" : "attached", file.contentId ?? "-", content(file)]
      .join(" | ")
  );
}

function content(file: ParsedMessage["attachments"][number]): string {
  return Buffer.concat([...file.bytes()]).toString("latin1");
}

Deno.test("parseMessage() takes a message without MIME for text", async () => {
  const message = await parsed("Subject: a\nX-A:  b\n  c\n\nHello\n--x--\n");
  assert.deepEqual(bodies(message), { "text/plain": "Hello\r\n--x--\r\n" });
  assert.deepEqual(message.fields, [{ name: "Subject", value: "a" }, { name: "X-A", value: "b  c" }]);
});

Deno.test("parseMessage() finds every form of the text", async () => {
  const message = await parsed(`Content-Type: multipart/alternative; boundary="=_b"

preamble
--=_b

plain
--=_b
Content-Type: text/x-amp-html

<amp>
--=_b
Content-Type: TEXT/HTML; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<p>=C3=BC=
</p>
--=_b
Content-Type: text/calendar; method=REQUEST; name=invite.ics

BEGIN:VCALENDAR
--=_b--
epilogue
`);
  assert.deepEqual(bodies(message), {
    "text/plain": "plain",
    "text/html": "<p>ü</p>",
    "text/x-amp-html": "<amp>",
    "text/calendar": "BEGIN:VCALENDAR",
  });
  assert.deepEqual(message.bodies.map(({ type }) => type), [
    "text/plain",
    "text/html",
    "text/x-amp-html",
    "text/calendar",
  ]);
  assert.deepEqual(files(message), []);
});

Deno.test("parseMessage() keeps pictures with their content ids and files with names in any charset", async () => {
  const message = await parsed(`Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/related; boundary=r; start="<main@x>"

--r
Content-Type: image/png
Content-ID: <pic@x>
Content-Transfer-Encoding: base64

QUJD
--r
Content-Type: text/html
Content-ID: <main@x>

<img src="cid:pic@x">
--r--
--m
Content-Type: application/pdf
Content-Disposition: attachment; filename*0*=utf-8''%E2%82%AC%20; filename*1=rates.pdf

pdf
--m
Content-Type: text/csv; name="=?iso-8859-1?Q?gr=F6=DFe.csv?="
Content-Disposition: attachment

a;b
--m
Content-Type: text/plain

footer
--m--
`);
  assert.deepEqual(bodies(message), { "text/html": '<img src="cid:pic@x">' });
  assert.deepEqual(files(message), [
    "image/png | attachment-1.png | inline | pic@x | ABC",
    "application/pdf | € rates.pdf | attached | - | pdf",
    "text/csv | größe.csv | attached | - | a;b",
    "text/plain | attachment-4.txt | inline | - | footer",
  ]);
});

Deno.test("parseMessage() keeps forwarded messages byte for byte", async () => {
  const inner =
    "From: x@y.z\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\ntext\r\n--i--\r\n\r\n";
  const message = await parsed(
    `Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nsee\r\n--m\r\nContent-Type: message/rfc822\r\n\r\n${inner}\r\n--m--\r\n`,
  );
  assert.deepEqual(bodies(message), { "text/plain": "see" });
  assert.deepEqual(files(message), [`message/rfc822 | message-1.eml | attached | - | ${inner}`]);
});

Deno.test("parseMessage() reads charsets, declared, missing and wrong", async () => {
  const cases: readonly (readonly [string, string, string])[] = [
    ["; charset=iso-8859-15", "\xa4", "€"],
    ["; charset=koi8-r", "\xf0\xf2\xe9", "ПРИ"],
    ["; charset=iso-2022-jp", "\x1b$B$3$s\x1b(B", "こん"],
    ["; charset=gb2312", "\xc4\xe3", "你"],
    ["; charset=utf-7", "Hi +AOQ- +-", "Hi ä +"],
    ["", "\xc3\xbc", "ü"],
    ["", "\xfc", "ü"],
    ["; charset=us-ascii", "\xc3\xbc", "ü"],
    ["; charset=x-nonsense", "\xfc", "ü"],
    ["; charset=utf-8", "a\xffb", "a\ufffdb"],
  ];
  for (const [parameter, bytes, expected] of cases) {
    const message = await parsed(`Content-Type: text/plain${parameter}\n\n${bytes}`);
    assert.deepEqual(bodies(message), { "text/plain": expected }, parameter);
  }
});

Deno.test("parseMessage() makes text or files of whatever is broken", async () => {
  const noBoundary = await parsed("Content-Type: multipart/mixed\n\ntext\n");
  assert.deepEqual(bodies(noBoundary), { "text/plain": "text\r\n" });
  const neverComes = await parsed("Content-Type: multipart/mixed; boundary=b\n\ntext\n--bb\n");
  assert.deepEqual(bodies(neverComes), { "text/plain": "text\r\n--bb\r\n" });
  const unended = await parsed(
    "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: image/gif\n\nGIF",
  );
  assert.deepEqual(bodies(unended), { "text/plain": "one" });
  assert.deepEqual(files(unended), ["image/gif | attachment-1.gif | attached | - | GIF"]);
  const odd = await parsed("Content-Type: ;;;\nContent-Transfer-Encoding: rot13\n\nodd");
  assert.deepEqual(bodies(odd), { "text/plain": "odd" });
  assert.deepEqual(bodies(await parsed("\n")), { "text/plain": "" });
  assert.deepEqual(bodies(await parsed("")), { "text/plain": "" });
  const headerOnly = await parsed(
    "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\n\nx\n--b--",
  );
  assert.deepEqual(bodies(headerOnly), { "text/plain": "x" });
});

Deno.test("parseMessage() tells nested multiparts apart whose boundaries begin alike", async () => {
  const message = await parsed(`Content-Type: multipart/mixed; boundary=b1

--b1
Content-Type: multipart/alternative; boundary=b

--b

one
--b1
Content-Type: application/x-a

two
--b1--
`);
  assert.deepEqual(bodies(message), { "text/plain": "one" });
  assert.deepEqual(files(message), ["application/x-a | attachment-1.bin | attached | - | two"]);
});

Deno.test("parseMessage() goes down a hundred levels and takes a thousand attachments", async () => {
  let nested = "Content-Type: text/plain\n\ndeep";
  for (let level = 100; level > 0; level--) {
    nested = `Content-Type: multipart/mixed; boundary=b${level}\n\n--b${level}\n${nested}\n--b${level}--`;
  }
  assert.deepEqual(bodies(await parsed(nested)), { "text/plain": "deep" });
  const many = Array.from(
    { length: 1000 },
    (_, index) => `--b\nContent-Disposition: attachment; filename=${index}\n\nfile ${index}\n`,
  ).join("");
  const message = await parsed(`Content-Type: multipart/mixed; boundary=b\n\n${many}--b--\n`);
  assert.deepEqual(
    message.attachments.map(content),
    Array.from({ length: 1000 }, (_, index) => `file ${index}`),
  );
});

Deno.test("parseMessage() refuses a message in endless parts and leaves what lies too deep whole", async () => {
  const endless = `Content-Type: multipart/mixed; boundary=b\n\n${"--b\n".repeat(20_000)}`;
  await assert.rejects(parsed(endless), TooManyParts);
  let deep = "\nx";
  for (let level = 5000; level > 0; level--) {
    deep = `Content-Type: multipart/mixed; boundary=b${level}\n\n--b${level}\n${deep}`;
  }
  const message = await parsed(deep);
  assert.match(bodies(message)["text/plain"] ?? "", /^--b201\r\n/);
});

Deno.test("parseMessage() decodes base64 with anything in it, and long quoted-printable lines", async () => {
  const base64 = async (text: string) =>
    content(
      (await parsed(`Content-Type: image/x\nContent-Transfer-Encoding: BASE64\n\n${text}`)).attachments[0] ??
        none,
    );
  assert.equal(await base64("QUJD\n RE\tVG"), "ABCDEF");
  assert.equal(await base64("QU*JD-"), "ABC");
  assert.equal(await base64("QUI=QUI=\n"), "ABAB");
  assert.equal(await base64("QUI"), "AB");
  const bytes = Buffer.from(Array.from({ length: 700_000 }, (_, index) => (index * 31) % 256));
  const lines = bytes.toString("base64").replace(/.{76}/g, "$&\n");
  assert.ok(Buffer.from(await base64(lines), "latin1").equals(bytes));
  const quoted = async (text: string) =>
    bodies(await parsed(`Content-Transfer-Encoding: quoted-printable\n\n${text}`))["text/plain"];
  assert.equal(await quoted("a=20 \n=3D=\nb=zz=4=\n\n"), "a \r\n=b=zz=4\r\n");
  assert.equal(
    await quoted("x".repeat(300_000) + "=41".repeat(100_000)),
    "x".repeat(300_000) + "A".repeat(100_000),
  );
});

const none: ParsedMessage["attachments"][number] = {
  type: "",
  fileName: "",
  isInline: false,
  size: 0,
  isBase64: false,
  bytes: () => [],
};

Deno.test("fieldText() makes a value readable", () => {
  assert.equal(fieldText("=?utf-8?q?=C3=BC?= =?utf-8?b?w7w=?= x"), "üü x");
  assert.equal(fieldText(" gr\xfc\xdfe\t\x00a "), "grüße a");
  assert.equal(fieldText("\xc3\xbc"), "ü");
});
