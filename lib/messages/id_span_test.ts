import assert from "node:assert/strict";
import { type MessageId, newId } from "../ids.ts";
import { mostIds, portionsOf, spanOf } from "./id_span.ts";

Deno.test("portionsOf() gives every id once, in order, no portion being too large", () => {
  for (const count of [0, 1, mostIds, mostIds + 1, 3 * mostIds]) {
    const ids = Array.from({ length: count }, () => newId<MessageId>());
    const portions = [...portionsOf(ids)];
    assert.deepEqual(portions.flat(), ids);
    assert.ok(portions.every(({ length }) => length > 0 && length <= mostIds));
  }
});

Deno.test("spanOf() finds the smallest and the largest id wherever they stand", () => {
  const [a, b, c] = [newId<MessageId>(), newId<MessageId>(), newId<MessageId>()];
  assert.deepEqual(spanOf([b, c, a]), { ids: [b, c, a], first: a, last: c });
  assert.throws(() => spanOf([]), /no ids/);
});
