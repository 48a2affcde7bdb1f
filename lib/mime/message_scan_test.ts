import assert from "node:assert/strict";
import fc from "fast-check";
import { scanMessage } from "./message_scan.ts";

async function* piecesOf(text: string, size = text.length): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += Math.max(1, size)) {
    yield await bytes.subarray(at, at + Math.max(1, size));
  }
}

async function isAttached(text: string, size?: number): Promise<boolean | undefined> {
  return (await scanMessage(piecesOf(text, size), { parts: true })).hasAttachment;
}

const plain = "Subject: a\r\n\r\nHello\r\n--no part\r\nContent-Disposition: attachment\r\n\r\n";

function multipart(type: string, ...parts: readonly string[]): string {
  const body = parts.map((part) => `--=b 1\r\n${part}\r\n`).join("");
  return `Subject: a\r\nContent-Type: multipart/${type};\r\n boundary="=b 1"\r\n\r\npreamble\r\n${body}--=b 1--\r\n`;
}

const text = "Content-Type: text/plain; charset=utf-8\r\n\r\nHello";
const logo = "Content-Type: image/png; name=logo.png\r\nContent-ID: <logo>\r\n\r\nAAAA";
const pdf = "Content-Type: application/pdf\r\n\r\nAAAA";
const saved = 'Content-Type: text/csv\r\nContent-Disposition: attachment; filename="a.csv"\r\n\r\n1,2';
const alternative = `Content-Type: multipart/alternative; boundary=in\r\n\r\n--in\r\n${text}\r\n--in\r\n` +
  `Content-Type: text/html\r\n\r\n<b>Hello</b>\r\n--in--`;

Deno.test("scanMessage() finds attached files, and none in text or in what is shown within it", async () => {
  const cases: readonly (readonly [string, boolean])[] = [
    [plain, false],
    ["Subject: a", false],
    ["", false],
    [multipart("alternative", text, "Content-Type: text/html\r\n\r\n<b>Hello</b>"), false],
    [multipart("related", alternative, logo), false],
    [multipart("mixed", alternative, pdf), true],
    [multipart("mixed", text, saved), true],
    [multipart("mixed", text, "Content-Type: message/rfc822\r\n\r\nSubject: b\r\n\r\nHello"), true],
    [multipart("mixed", "\r\nHello"), false],
    [
      multipart("mixed", text).replace("--=b 1--", "--=b 1x\r\nContent-Disposition: attachment\r\n\r\n"),
      false,
    ],
    ["Content-Type: application/pdf\r\n\r\nAAAA", true],
    [multipart("mixed", text, pdf).replaceAll("\r\n", "\n"), true],
  ];
  for (const [message, expected] of cases) assert.equal(await isAttached(message), expected, message);
});

Deno.test("scanMessage() finds the same however the message is cut into pieces", async () => {
  const messages = [
    plain,
    multipart("related", alternative, logo),
    multipart("mixed", alternative, pdf),
    multipart("mixed", text, saved),
  ];
  await fc.assert(fc.asyncProperty(
    fc.constantFrom(...messages),
    fc.integer({ min: 1, max: 80 }),
    async (message, size) => {
      const whole = await scanMessage(piecesOf(message), { parts: true });
      assert.deepEqual(await scanMessage(piecesOf(message, size), { parts: true }), whole);
      assert.equal(new TextDecoder().decode(whole.header), message.slice(0, message.indexOf("\r\n\r\n") + 4));
    },
  ));
});

Deno.test("scanMessage() reads no further than the header when that is all that is asked", async () => {
  let read = 0;
  async function* pieces() {
    for (const piece of ["Subject: a\r\n", "\r\n", "body", "more"]) {
      read++;
      yield await new TextEncoder().encode(piece);
    }
  }
  const { header, hasAttachment } = await scanMessage(pieces(), { parts: false });
  assert.equal(new TextDecoder().decode(header), "Subject: a\r\n\r\n");
  assert.deepEqual([read, hasAttachment], [2, undefined]);
});

Deno.test("scanMessage() ends a header that never ends, and holds little of a large message", async () => {
  let read = 0;
  async function* endless() {
    for (;; read++) yield await new Uint8Array(64 * 1024).fill(120);
  }
  const { header } = await scanMessage(endless(), { parts: false });
  assert.ok(header.length < 2 ** 21 && read < 40, `${header.length} bytes after ${read} pieces`);
  async function* large() {
    yield* piecesOf(multipart("mixed", text).replace("--=b 1--\r\n", ""));
    for (let count = 0; count < 200; count++) yield* piecesOf("x".repeat(64 * 1024) + "\n--");
    yield* piecesOf(`\r\n--=b 1\r\n${pdf}\r\n--=b 1--\r\n`);
  }
  assert.equal((await scanMessage(large(), { parts: true })).hasAttachment, true);
});

Deno.test("scanMessage() gives up on a message that is made of delimiters, and reads no more of it", async () => {
  let read = 0;
  async function* endless() {
    yield* piecesOf(multipart("mixed", text).replace("--=b 1--\r\n", ""));
    for (;; read++) yield* piecesOf("--\n--=b 1\n\n".repeat(5000));
  }
  const { hasAttachment } = await scanMessage(endless(), { parts: true });
  assert.equal(hasAttachment, false);
  assert.ok(read <= 10, `${read} pieces were read`);
});
