import assert from "node:assert/strict";
import { Refusal } from "../../../lib/refusal.ts";
import { KeyedTurns, Turns } from "./turns.ts";

Deno.test("Turns lets so many work, so many wait in order, and refuses who comes beyond", async () => {
  const turns = new Turns(1, 2);
  const order: number[] = [];
  const first = await turns.take();
  const waiting = [1, 2].map(async (n) => {
    using _turn = await turns.take();
    order.push(n);
  });
  await assert.rejects(
    turns.take(),
    (error) => error instanceof Refusal && error.code === "credentials_throttled",
  );
  first[Symbol.dispose]();
  await Promise.all(waiting);
  assert.deepEqual(order, [1, 2]);
});

Deno.test("KeyedTurns keeps keys apart, and takes who is refused for gone", async () => {
  const turns = new KeyedTurns(0);
  const a = await turns.take("a");
  const b = await turns.take("b");
  await assert.rejects(turns.take("a"));
  a[Symbol.dispose]();
  const again = await turns.take("a");
  again[Symbol.dispose]();
  b[Symbol.dispose]();
});
