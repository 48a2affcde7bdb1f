import assert from "node:assert/strict";
import { WaitingLines } from "./cloudwatch_batch.ts";

function bytesOf(events: readonly { readonly message: string }[]): number {
  return events.reduce((sum, { message }) => sum + new TextEncoder().encode(message).length + 26, 0);
}

Deno.test("WaitingLines.batch() holds no more than one request may, and nothing is lost between batches", () => {
  const lines = new WaitingLines(64 << 20);
  for (let n = 0; n < 3000; n++) assert.ok(lines.add(`${n} ${"é".repeat(500)}`, n));
  const seen: string[] = [];
  while (lines.count > 0) {
    const batch = lines.batch();
    assert.ok(batch.length > 0 && bytesOf(batch) <= 1_048_576);
    seen.push(...batch.map(({ message }) => message.split(" ")[0] ?? ""));
    lines.remove(batch.length);
  }
  assert.deepEqual(seen, Array.from({ length: 3000 }, (_, n) => String(n)));
  assert.equal(lines.bytes, 0);
  for (let n = 0; n < 10_001; n++) lines.add("x", 0);
  assert.equal(lines.batch().length, 10_000);
});

Deno.test("WaitingLines.add() takes nothing beyond its memory, cuts what is too long, and keeps time in order", () => {
  const small = new WaitingLines(60);
  assert.equal(small.add("12345678", 1), true);
  assert.equal(small.add("1", 1), false);
  const lines = new WaitingLines(1 << 20);
  lines.add("é".repeat(200_000), 5000);
  lines.add("later by a clock that went back", 4000);
  const [first, second] = lines.batch();
  assert.ok(bytesOf([{ message: first?.message ?? "" }]) <= 262_144);
  assert.match(first?.message ?? "", /é…$/);
  assert.equal(second?.timestamp, 5000);
});
