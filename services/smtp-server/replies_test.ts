import assert from "node:assert/strict";
import { Refusal } from "../../lib/refusal.ts";
import {
  correctedReply,
  formatReply,
  protocolReplies,
  refusalReplies,
  refusalReply,
  type Reply,
} from "./replies.ts";

Deno.test("every row's enhanced code is of its basic code's class", () => {
  for (const [row, reply] of Object.entries<Reply>({ ...protocolReplies, ...refusalReplies })) {
    const family = Math.floor(reply.code / 100);
    if (reply.enhanced !== undefined) {
      assert.match(reply.enhanced, new RegExp(`^${family}\\.\\d\\.\\d{1,2}$`), row);
    } else assert.ok(family === 3 || row === "greeting" || row === "hello", row);
  }
});

Deno.test("formatReply() codes every line and lets no control character or long text through", () => {
  assert.equal(formatReply({ code: 250 }, ["a", "b"]), "250-a\r\n250 b\r\n");
  assert.equal(
    formatReply({ code: 550, enhanced: "5.7.1" }, ["no\r\n250 yes\0ä"]),
    "550 5.7.1 no 250 yes ?\r\n",
  );
  assert.ok(formatReply({ code: 550, enhanced: "5.6.11" }, ["x".repeat(2000)]).length <= 512);
  assert.equal(formatReply({ code: 334 }, [""]), "334 \r\n");
});

Deno.test("refusalReply() answers the refusal's own sentence", () => {
  const { reply, text } = refusalReply(new Refusal("mail_loop", "Round and round"));
  assert.deepEqual(reply, { code: 554, enhanced: "5.4.6" });
  assert.equal(text, "Round and round");
});

Deno.test("correctedReply() gives an unknown sentence the enhanced code of its class", () => {
  assert.deepEqual(correctedReply(599, "Strange").reply, { code: 599, enhanced: "5.0.0" });
  assert.deepEqual(correctedReply(354, "Go").reply, { code: 354 });
});
