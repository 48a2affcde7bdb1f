import assert from "node:assert/strict";
import { type CallId, type MessageId, newId, type RecipientId } from "../ids.ts";
import { withoutTexts } from "./bare_settlement.ts";

Deno.test("withoutTexts() keeps what decides what is sent again, and nothing that a service wrote", () => {
  const said = "\ud83d said";
  const [message, call] = [newId<MessageId>(), newId<CallId>()];
  const answer = { code: 451, espCode: said, requestId: said, excerpt: said };
  const change = { recipient: 1 as RecipientId, status: "pending", delayMs: 1, attemptSpent: true } as const;
  const end = { call, status: "partial", durationMs: 7, providerMessageId: "<a.b@example.net>" } as const;
  const bare = withoutTexts({
    message,
    claim: 4,
    calls: [{ ...end, answer, error: said }],
    changes: [{ ...change, fault: { code: "smtp_451", detail: said } }],
    then: "conclude",
    error: said,
  });
  const text = "The text could not be stored";
  assert.deepEqual(bare, {
    message,
    claim: 4,
    calls: [{ ...end, answer: { code: 451, excerpt: text }, error: text }],
    changes: [{ ...change, fault: { code: "smtp_451", detail: text } }],
    then: "conclude",
    error: text,
  });
  assert.ok(!JSON.stringify(bare).includes("said"));
});

Deno.test("withoutTexts() gives up names and codes that are no plain ones", () => {
  const call = {
    call: newId<CallId>(),
    status: "failed",
    providerMessageId: "a\0",
    answer: {
      code: 1e12,
      excerpt: "",
    },
  } as const;
  const fault = { code: "\ud83d", detail: "" };
  const bare = withoutTexts({
    message: newId<MessageId>(),
    claim: 1,
    calls: [call],
    changes: [{ recipient: 1 as RecipientId, status: "refused", attemptSpent: true, fault }],
    then: "go on",
  });
  assert.equal(bare.calls[0]?.providerMessageId, undefined);
  assert.equal(bare.calls[0]?.answer?.code, undefined);
  assert.equal(bare.changes[0]?.fault?.code, "not_stored");
});
