import assert from "node:assert/strict";
import fc from "fast-check";
import { ReplyReader, replyText } from "./reply.ts";

const encoder = new TextEncoder();

Deno.test("ReplyReader reads one line, several lines and several replies in one piece", () => {
  const reader = new ReplyReader();
  assert.deepEqual(read(reader, "250-one\r\n250-two\r\n250 three\r\n550 5.1.1 nobody\r\n354\r\n"), [
    { code: 250, lines: ["one", "two", "three"] },
    { code: 550, enhanced: "5.1.1", lines: ["nobody"] },
    { code: 354, lines: [""] },
  ]);
  assert.equal(reader.isPartial, false);
});

Deno.test("ReplyReader gives the same replies however the bytes are cut", () => {
  const bytes = encoder.encode("220 gr\u{fc}\u{df}e\r\n250-2.1.0 a\r\n250 2.1.0 b\r\n451 4.3.0 later\r\n");
  const whole = new ReplyReader().push(bytes);
  fc.assert(fc.property(fc.array(fc.nat(bytes.length), { maxLength: 8 }), (cuts) => {
    const reader = new ReplyReader();
    const borders = [0, ...cuts.sort((a, b) => a - b), bytes.length];
    const replies = borders.slice(1).flatMap((end, index) =>
      reader.push(bytes.subarray(borders[index], end))
    );
    assert.deepEqual(replies, whole);
  }));
});

Deno.test("ReplyReader takes an enhanced code only of the same class", () => {
  assert.deepEqual(read(new ReplyReader(), "550 4.1.1 odd\r\n"), [{ code: 550, lines: ["4.1.1 odd"] }]);
});

Deno.test("ReplyReader refuses what is no reply and what never ends", () => {
  for (const bytes of ["HTTP/1.1 400 Bad Request\r\n", "999 no\r\n", "25\r\n", "250_x\r\n", "\r\n"]) {
    assert.throws(() => read(new ReplyReader(), bytes), /Reply is not SMTP/);
  }
  assert.throws(() => read(new ReplyReader(), "2".repeat(70_000)), /too long/);
  const reader = new ReplyReader();
  assert.throws(() => {
    for (;;) read(reader, `250-${"x".repeat(1000)}\r\n`);
  }, /too long/);
});

Deno.test("replyText() is one printable line of at most 500 characters", () => {
  const [reply] = read(new ReplyReader(), `550-5.7.1 \x1b[2Jone\r\n550 5.7.1 ${"y".repeat(900)}\r\n`);
  assert.ok(reply);
  const text = replyText(reply);
  assert.match(text, /^550 5\.7\.1 {2}\[2Jone y+$/);
  assert.equal(text.length, 500);
});

function read(reader: ReplyReader, text: string) {
  return reader.push(encoder.encode(text));
}
