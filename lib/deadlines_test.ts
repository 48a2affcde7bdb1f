import assert from "node:assert/strict";
import { Deadlines } from "./deadlines.ts";

Deno.test("Deadlines lets through what ends in time, as it ends", async () => {
  const deadlines = new Deadlines(10_000);
  assert.equal(await deadlines.limit(Promise.resolve(7)), 7);
  await assert.rejects(deadlines.limit(Promise.reject(new Error("broken"))), /broken/);
});

Deno.test("Deadlines ends each wait at its own limit, whatever others do", async () => {
  const deadlines = new Deadlines(5);
  const never = Promise.withResolvers<never>();
  const first = deadlines.limit(never.promise);
  const ending = Promise.withResolvers<string>();
  const second = deadlines.limit(ending.promise);
  ending.resolve("in time");
  assert.equal(await second, "in time");
  await assert.rejects(first, /No answer within 5 ms/);
  await assert.rejects(deadlines.limit(never.promise), /No answer within 5 ms/);
});
