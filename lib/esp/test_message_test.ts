import assert from "node:assert/strict";
import { testParcel } from "./test_message.ts";

Deno.test("testParcel() makes a complete message for one recipient", async () => {
  const now = new Date("2026-11-23T01:02:03Z");
  const { message, recipients, body } = testParcel({ from: "a@example.com", to: "b@example.org", now });
  const text = new TextDecoder().decode(await body.bytes());
  assert.match(text, /^From: <a@example\.com>\r\nTo: <b@example\.org>\r\n/);
  assert.match(
    text,
    /\r\nDate: Mon, 23 Nov 2026 01:02:03 \+0000\r\nMessage-ID: <[\da-f-]{36}@example\.com>\r\n/,
  );
  assert.deepEqual(recipients.map(({ address }) => address), ["b@example.org"]);
  assert.equal(message.mailFrom, "a@example.com");
  assert.equal(message.size, body.size);
});

Deno.test("testParcel() refuses what is not an address, so that nobody writes a header by it", () => {
  const now = new Date(0);
  for (const to of ["", "b", "b@example.org\r\nBcc: c@example.org", "\u00fc@example.org"]) {
    assert.throws(() => testParcel({ from: "a@example.com", to, now }), /to is not an address in ASCII/);
  }
});
