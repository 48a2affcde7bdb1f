import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import type { Body } from "../store/body.ts";
import { DotStuffer, outgoingMessage, wholeMessage } from "./message_bytes.ts";

const bcc = new Set(["bcc"]);

Deno.test("wholeMessage() doubles dots at line beginnings and ends with the line of the dot", () => {
  const cases = [
    ["", "\u{0d}\u{0a}.\r\n".slice(2)],
    ["a: b\r\n\r\ntext\r\n", "a: b\r\n\r\ntext\r\n.\r\n"],
    ["a: b\r\n\r\ntext", "a: b\r\n\r\ntext\r\n.\r\n"],
    [".a\r\n.\r\n..\r\nx.y\r\n", "..a\r\n..\r\n...\r\nx.y\r\n.\r\n"],
  ];
  for (const [given = "", wanted] of cases) {
    const message = wholeMessage(Buffer.from(given), bcc);
    assert.equal(Buffer.from(message.wire ?? []).toString(), wanted);
    assert.equal(message.size, given.length);
  }
});

Deno.test("wholeMessage() refuses a CR or an LF that stands alone", () => {
  for (const text of ["a\nb\r\n", "a\rb\r\n", "a\r\n.\n", "a\r", "\n", "a\r\r\nb", "a\r\n\n.\r\n"]) {
    assert.throws(
      () => wholeMessage(Buffer.from(text), bcc),
      { code: "bare_line_ending" },
      JSON.stringify(text),
    );
  }
});

Deno.test("DotStuffer gives the same bytes however a message is cut, and undoing it gives the message", () => {
  const line = fc.stringMatching(/^[a.]{0,4}$/);
  fc.assert(fc.property(fc.array(line), fc.array(fc.nat(60), { maxLength: 6 }), (lines, cuts) => {
    const text = lines.map((content) => `${content}\r\n`).join("");
    const bytes = Buffer.from(text);
    const stuffer = new DotStuffer();
    const borders = [
      0,
      ...cuts.map((cut) => Math.min(cut, bytes.length)).sort((a, b) => a - b),
      bytes.length,
    ];
    const pieces = borders.slice(1).map((end, index) => stuffer.push(bytes.subarray(borders[index], end)));
    const wire = Buffer.concat([...pieces, stuffer.end()]).toString();
    const wireLines = wire.slice(0, -2).split("\r\n");
    assert.equal(wireLines.pop(), ".");
    assert.deepEqual(wireLines.map((sent) => sent.startsWith(".") ? sent.slice(1) : sent), lines);
  }));
});

Deno.test("wholeMessage() removes Bcc from the top header alone, and says so in its size", () => {
  const text = "Bcc: x@y\r\nSubject: \xfc\r\n\r\nBcc: stays\r\n";
  const message = wholeMessage(Buffer.from(text, "latin1"), bcc);
  assert.equal(
    Buffer.from(message.wire ?? []).toString("latin1"),
    "Subject: \xfc\r\n\r\nBcc: stays\r\n.\r\n",
  );
  assert.equal(message.size, text.length - "Bcc: x@y\r\n".length);
  assert.equal(message.hasRawHeader(), true);
});

Deno.test("outgoingMessage() streams a large body to the same bytes as a small one", async () => {
  const head = "Bcc: a@b,\r\n c@d\r\nSubject: x\r\n\r\n";
  for (const pieceLength of [1, 7, 4096, 65_536]) {
    const text = head + ".dots and more\r\n".repeat(pieceLength === 1 ? 17_000 : 40_000);
    const bytes = Buffer.from(text);
    const message = await outgoingMessage(streamedBody(bytes, pieceLength), bcc);
    assert.equal(message.wire, undefined);
    const pieces: Uint8Array[] = [];
    for await (const piece of message.pieces()) pieces.push(piece.bytes);
    const small = wholeMessage(bytes, bcc);
    assert.ok(Buffer.concat(pieces).equals(Buffer.from(small.wire ?? [])));
    assert.equal(message.size, small.size);
  }
});

Deno.test("outgoingMessage() fails before the last piece when a body ends too early", async () => {
  const body = streamedBody(Buffer.alloc(300_000, "a: b\r\n"), 1000);
  const message = await outgoingMessage({ ...body, size: 300_001 }, bcc);
  await assert.rejects(async () => {
    for await (const piece of message.pieces()) assert.equal(piece.isLast, false);
  }, /300000 of 300001 bytes/);
});

function streamedBody(bytes: Uint8Array, pieceLength: number): Body {
  return {
    size: bytes.length,
    sha256: new Uint8Array(32),
    bytes: () => Promise.reject(new Error("A large body is not read at once")),
    stream: () => {
      let at = 0;
      return new ReadableStream({
        pull(controller) {
          if (at >= bytes.length) return controller.close();
          controller.enqueue(bytes.subarray(at, at += pieceLength));
        },
      });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}
