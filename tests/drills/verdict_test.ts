import assert from "node:assert/strict";
import { judgeDelivery, recipientKey } from "./verdict.ts";

const client = {
  acked: new Set(["a", "b", "c"]),
  uncertain: new Set(["u"]),
  resent: new Set(["b"]),
  recipients: ["x@example.net", "y@example.net"],
};
const both = client.recipients;

Deno.test("judgeDelivery() finds nothing wrong where every recipient got every message once", () => {
  const sunk = [{ id: "a", to: both }, { id: "b", to: both }, { id: "c", to: ["x@example.net"] }];
  const verdict = judgeDelivery(client, sunk, new Set([recipientKey("c", "y@example.net")]));
  const nothing = { lost: 0, invented: 0, duplicates: 0, resentDuplicates: 0, examples: [] };
  assert.deepEqual(verdict, { acked: 3, dead: 1, ...nothing });
});

Deno.test("judgeDelivery() counts each recipient who was forgotten", () => {
  const verdict = judgeDelivery(
    client,
    [{ id: "a", to: both }, { id: "b", to: ["x@example.net"] }],
    new Set(),
  );
  assert.equal(verdict.lost, 3);
});

Deno.test("judgeDelivery() counts mails beyond the first, apart for what the client sent again", () => {
  const sunk = ["a", "a", "a", "b", "b", "c", "u"].map((id) => ({ id, to: both }));
  const { lost, duplicates, resentDuplicates, invented } = judgeDelivery(client, sunk, new Set());
  assert.deepEqual({ lost, duplicates, resentDuplicates, invented }, {
    lost: 0,
    duplicates: 2,
    resentDuplicates: 1,
    invented: 0,
  });
});

Deno.test("judgeDelivery() counts mails that nobody sent and mails to somebody else", () => {
  const sunk = [{ id: "z", to: both }, { id: "a", to: ["z@example.net"] }];
  assert.equal(judgeDelivery(client, sunk, new Set()).invented, 2);
});
