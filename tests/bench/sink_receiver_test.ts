import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { SinkReceiver } from "./sink_receiver.ts";

const message = (id: string) =>
  `MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nFrom: a@b\r\nX-Test-Id: ${id}\r\n\r\nHello\r\n.\r\n`;

function conversation(chunks: readonly string[]): { ids: (string | undefined)[]; replies: string } {
  const ids: (string | undefined)[] = [];
  const receiver = new SinkReceiver((id) => ids.push(id));
  const replies = chunks.map((chunk) => receiver.receive(Buffer.from(chunk, "latin1")).replies).join("");
  return { ids, replies };
}

Deno.test("SinkReceiver counts the same messages however the bytes are cut", () => {
  const text = message("one-1") + message("two-2") + "QUIT\r\n";
  const whole = conversation([text]);
  assert.deepEqual(whole.ids, ["one-1", "two-2"]);
  assert.deepEqual(conversation([...text]), whole);
  for (let cut = 1; cut < text.length; cut++) {
    assert.deepEqual(conversation([text.slice(0, cut), text.slice(cut)]), whole, `cut at ${cut}`);
  }
});

Deno.test("SinkReceiver takes a message without a body, and one without an id", () => {
  assert.deepEqual(conversation(["DATA\r\n", ".\r\n", "NOOP\r\n"]), {
    ids: [undefined],
    replies: "354 Go on\r\n250 2.0.0 Taken\r\n250 2.0.0 Ok\r\n",
  });
});
