import assert from "node:assert/strict";
import { redactField, redactMailboxes } from "./redact.ts";

Deno.test("redactMailboxes() leaves domains and everything that is no address", () => {
  assert.equal(redactMailboxes("550 <ann.o'x+1@example.com> unknown"), "550 <***@example.com> unknown");
  assert.equal(redactMailboxes("to a@x.test,b@y.test"), "to ***@x.test,***@y.test");
  assert.equal(redactMailboxes("jürgen@bücher.test"), "***@bücher.test");
  assert.equal(redactMailboxes("a@[192.0.2.1]"), "***@[192.0.2.1]");
  assert.equal(redactMailboxes("5 @ 3, no address at all"), "5 @ 3, no address at all");
});

Deno.test("redactField() looks into errors and hides where clients are", () => {
  assert.equal(redactField("remoteAddress", "192.0.2.1"), "***");
  assert.equal(redactField("helo", "laptop.of.ann"), "***");
  assert.equal(redactField("size", 12), 12);
  assert.deepEqual(
    redactField("error", { message: "no a@x.test", cause: { message: "b@x.test" }, code: 5 }),
    {
      message: "no ***@x.test",
      cause: { message: "***@x.test" },
      code: 5,
    },
  );
});
