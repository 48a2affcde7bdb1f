import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { detachParts } from "./detach_parts.ts";
import { detachText } from "./detach_text.ts";

const plain = "Content-Type: text/plain\r\n\r\nText";

function multipart(type: string, boundary: string, parts: readonly string[]): string {
  return `Content-Type: multipart/${type}; boundary="${boundary}"\r\n\r\n` +
    parts.map((part) => `--${boundary}\r\n${part}\r\n`).join("") + `--${boundary}--\r\n`;
}

async function detached(message: string, target = 0, most = 100) {
  const { rest, parts } = await detachParts(Buffer.from(message, "latin1"), target, most);
  return { rest: Buffer.from(rest).toString("latin1"), parts };
}

Deno.test("detachParts() takes files out and leaves a message of the same shape", async () => {
  const file = "Content-Type: image/png; name=a.png\r\nContent-Transfer-Encoding: base64\r\n\r\nAQID";
  const { rest, parts } = await detached(`Subject: s\r\n${multipart("mixed", "m", [plain, file, plain])}`);
  assert.equal(rest, `Subject: s\r\n${multipart("mixed", "m", [plain, plain])}`);
  assert.deepEqual(parts.map(({ name, contentType, isInline }) => [name, contentType, isInline]), [
    ["a.png", "image/png", false],
  ]);
  assert.deepEqual([...parts[0]?.content() ?? []], [1, 2, 3]);
});

Deno.test("detachParts() takes the largest first and no more than is needed", async () => {
  const file = (name: string, length: number) =>
    `Content-Type: a/b; name=${name}\r\n\r\n${"x".repeat(length)}`;
  const message = multipart("mixed", "m", [
    plain,
    file("small", 10),
    file("large", 1000),
    file("middle", 100),
  ]);
  const names = async (target: number, most?: number) =>
    (await detached(message, target, most)).parts.map(({ name }) => name);
  assert.deepEqual(await names(message.length), []);
  assert.deepEqual(await names(message.length - 1), ["large"]);
  assert.deepEqual(await names(250), ["large", "middle"]);
  assert.deepEqual(await names(0), ["small", "large", "middle"]);
  assert.deepEqual(await names(0, 1), ["large"]);
});

Deno.test("detachParts() leaves texts, their forms, and what a signature covers", async () => {
  const image = "Content-Type: image/png\r\n\r\nPNG";
  for (
    const message of [
      plain,
      multipart("alternative", "a", [plain, "Content-Type: text/calendar\r\n\r\nX", image]),
      multipart("signed", "s", [multipart("mixed", "m", [plain, image]), image]),
      multipart("report", "r", [plain, image]),
      multipart("mixed", "m", [plain, "Content-Type: text/html\r\n\r\nX", multipart("signed", "s", [image])]),
      multipart("mixed", "m", [plain, "Content-Type: a/b\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\nX"]),
      multipart("related", "r", [image]),
      `Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n${image}\r\n`,
      "Content-Type: multipart/mixed\r\n\r\nX",
    ]
  ) assert.deepEqual(await detached(message), { rest: message, parts: [] });
});

Deno.test("detachParts() finds pictures of a text wherever it lies, and says that they are shown in it", async () => {
  const image = "Content-Type: image/gif\r\nContent-ID: <p@x>\r\n\r\nGIF";
  const related = multipart("related", "r", ["Content-Type: text/html\r\n\r\n<img>", image]);
  const { rest, parts } = await detached(
    multipart("mixed", "m", [multipart("alternative", "a", [plain, related]), plain]),
  );
  assert.doesNotMatch(rest, /GIF/);
  assert.match(rest, /<img>/);
  assert.deepEqual(parts.map(({ contentId, isInline, name }) => [contentId, isInline, name]), [
    ["p@x", true, "attachment-1"],
  ]);
});

Deno.test("detachParts() leaves an empty text where nothing would be left", async () => {
  const { rest, parts } = await detached(multipart("mixed", "m", ["Content-Type: a/b\r\n\r\nX"]));
  assert.equal(rest, multipart("mixed", "m", ["Content-Type: text/plain\r\n\r\n"]));
  assert.equal(parts.length, 1);
});

Deno.test("detachParts() makes names harmless", async () => {
  const name = async (field: string) =>
    (await detached(
      multipart("mixed", "m", [
        plain,
        `Content-Type: a/b\r\nContent-Disposition: attachment; ${field}\r\n\r\nX`,
      ]),
    )).parts[0]?.name;
  assert.equal(await name('filename="../../etc/pass\twd"'), "passwd");
  assert.equal(await name('filename="C:\\\\temp\\\\x.doc"'), "x.doc");
  assert.equal(await name("filename*=utf-8''%E2%80%AEgnp.exe"), "gnp.exe");
  assert.equal(await name('filename=""'), "attachment-1");
  assert.equal(await name('filename="=?utf-8?Q?=C3=A4?="'), "ä");
});

const content = fc.stringMatching(/^[ -~]{0,60}(\r\n[!-~]{1,20}){0,3}$/);

Deno.test("detachParts() gives back every file's bytes, and nothing of the message is lost or doubled", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(content, fc.boolean()), { maxLength: 8 }), async (files) => {
      const parts = files.map(([text, isBase64], index) =>
        `Content-Type: a/b; name=f${index}\r\n` +
        (isBase64
          ? `Content-Transfer-Encoding: base64\r\n\r\n${Buffer.from(text).toString("base64")}`
          : `\r\n${text}`)
      );
      const { rest, parts: found } = await detached(
        `X: 1\r\n${multipart("mixed", "edge", [plain, ...parts])}after`,
      );
      assert.equal(rest, `X: 1\r\n${multipart("mixed", "edge", [plain])}after`);
      assert.deepEqual(
        found.map((part) => Buffer.from(part.content()).toString()),
        files.map(([text]) => text),
      );
    }),
  );
});

Deno.test("detachParts() and detachText() cope with any bytes", async () => {
  const piece = fc.constantFrom(
    "--m",
    "--m--",
    "\r\n",
    "\n",
    "Content-Type: multipart/mixed; boundary=m",
    "\r\n\r\n",
    "Content-Type: a/b",
    "x",
    '"',
    ";",
    "Content-Transfer-Encoding: base64",
  );
  await fc.assert(fc.asyncProperty(fc.array(piece, { maxLength: 40 }), async (pieces) => {
    const bytes = Buffer.from(`Content-Type: multipart/mixed; boundary=m\r\n\r\n${pieces.join("")}`);
    for (const part of (await detachParts(bytes, 0, 10)).parts) part.content();
    await detachText(bytes);
  }));
});

Deno.test("detachText() takes out the one text there is, decoded", async () => {
  const html =
    "Content-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>=E4";
  const found = await detachText(
    Buffer.from(`X: 1\r\n${multipart("mixed", "m", [html, "Content-Type: a/b\r\n\r\nX"])}`),
  );
  assert.equal(found?.text, "<p>ä");
  assert.equal(found?.format, "html");
  assert.doesNotMatch(Buffer.from(found?.rest ?? []).toString(), /<p>/);
  assert.equal((await detachText(Buffer.from("X: 1\r\n\r\nHi")))?.text, "Hi");
  assert.equal(await detachText(Buffer.from(multipart("alternative", "a", [plain, html]))), undefined);
  assert.equal(await detachText(Buffer.from(multipart("signed", "a", [plain, html]))), undefined);
});
