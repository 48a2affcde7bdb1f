import assert from "node:assert/strict";
import fc from "fast-check";
import type { EspEventKind } from "../esp/event.ts";
import { effectOf, recipientRanks, statusAfter } from "./derived_status.ts";

const kinds: readonly EspEventKind[] = [
  "accepted",
  "deferred",
  "delivered",
  "bounced",
  "dropped",
  "suppressed",
  "complained",
  "opened",
  "clicked",
  "unsubscribed",
  "resubscribed",
];

Deno.test("statusAfter() ends the same in whatever order events come, and however often", () => {
  const events = fc.array(fc.constantFrom(...kinds), { maxLength: 8 });
  const start = fc.constantFrom(...recipientRanks);
  fc.assert(
    fc.property(start, events, fc.integer(), (from, some, turn) => {
      const ordered = some.reduce(statusAfter, from);
      const turned = some.toSorted((a, b) => (a.length * turn) % 7 - (b.length * turn) % 7).toReversed();
      assert.equal(turned.reduce(statusAfter, from), ordered);
      assert.equal([...some, ...some].reduce(statusAfter, from), ordered);
    }),
    { seed: 20_261_123 },
  );
});

Deno.test("statusAfter() lets no late word stand against a better proof", () => {
  const after = (...events: readonly EspEventKind[]) => events.reduce(statusAfter, "accepted");
  assert.equal(after("complained", "delivered"), "complained");
  assert.equal(after("delivered", "deferred"), "delivered");
  assert.equal(after("delivered", "bounced"), "bounced", "a bounce may follow a delivery");
  assert.equal(after("bounced", "opened", "clicked"), "bounced");
  assert.equal(after("deferred", "accepted"), "deferred");
  assert.equal(after("accepted", "dropped"), "refused");
  assert.equal(after("unsubscribed"), "accepted");
});

Deno.test("effectOf() moves whoever nobody knew about, and nobody by an opened mail", () => {
  for (const status of ["pending", "unknown", "failed", "cancelled"] as const) {
    assert.equal(statusAfter(status, "delivered"), "delivered");
    assert.equal(statusAfter(status, "opened"), status);
  }
  assert.equal(effectOf("opened"), undefined);
  assert.ok(!effectOf("complained")?.replaces.includes("complained"));
});
