import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { makeFiller, messageId, MessageTemplate } from "./load_message.ts";

const filler = makeFiller();

function textOf(size: number, sequence: number): string {
  const shape = { run: "testrun0", from: "a@example.com", to: "b@example.net", size, date: new Date(0) };
  const template = new MessageTemplate(shape, filler);
  template.stamp(sequence);
  return Buffer.concat(template.pieces).toString("latin1");
}

Deno.test("MessageTemplate has the size asked for, CRLF lines, no dot line and no line over 998 bytes", () => {
  for (const size of [500, 501, 10_240, 65_536, 65_537, 200_000, 1_048_576]) {
    const text = textOf(size, 7);
    assert.ok(text.endsWith("\r\n.\r\n"));
    assert.equal(text.length, size + 3);
    const lines = text.slice(0, -5).split("\r\n");
    assert.ok(lines.every((line) => !/[\r\n]/.test(line) && !line.startsWith(".") && line.length <= 998));
  }
});

Deno.test("MessageTemplate never ends in a lone CR whatever the size", () => {
  for (let size = 10_000; size < 10_200; size++) {
    assert.ok(!/\r(?!\n)|(?<!\r)\n/.test(textOf(size, 1)), `size ${size}`);
  }
});

Deno.test("MessageTemplate stamps the id into X-Test-Id, Message-ID and Subject and nothing else", () => {
  const text = textOf(10_240, 123_456_789);
  const id = messageId("testrun0", 123_456_789);
  assert.equal(id, "testrun0-123456789");
  assert.match(text, new RegExp(`\r\nX-Test-Id: ${id}\r\n`));
  assert.match(text, new RegExp(`\r\nMessage-ID: <${id}@`));
  assert.equal(text.replaceAll(id, messageId("testrun0", 0)), textOf(10_240, 0));
});
