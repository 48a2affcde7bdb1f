import assert from "node:assert/strict";
import { describeState } from "./state.ts";

Deno.test("describeState() tells which key seals, which is still needed, needed no more or missing", () => {
  const counts = [{ keyId: "gone", count: 1 }, { keyId: "new", count: 2 }, { keyId: "old", count: 3 }];
  const keys = [{ id: "new" }, { id: "old" }, { id: "older" }];
  assert.deepEqual(describeState(counts, keys), {
    lines: [
      "key new: seals, 2 sealed with it",
      "key old: still needed, 3 sealed with it",
      "key older: needed no more",
      "key gone: not among secrets.keys, 1 cannot be opened",
    ],
    needsOthers: true,
  });
});

Deno.test("describeState() is content when the first key is all that is needed", () => {
  assert.equal(
    describeState([{ keyId: "new", count: 2 }], [{ id: "new" }, { id: "old" }]).needsOthers,
    false,
  );
  assert.deepEqual(describeState([], []), {
    lines: ["nothing is sealed, and secrets.keys names no key"],
    needsOthers: false,
  });
});
