import assert from "node:assert/strict";
import { withinTime } from "./deadlines.ts";

Deno.test("withinTime() lets through what ends in time, as it ends", async () => {
  assert.equal(await withinTime(10_000, Promise.resolve(7)), 7);
  await assert.rejects(withinTime(10_000, Promise.reject(new Error("broken"))), /broken/);
});

Deno.test("withinTime() ends each wait at its own limit, whatever others do", async () => {
  const never = Promise.withResolvers<never>();
  const first = withinTime(5, never.promise);
  const ending = Promise.withResolvers<string>();
  const second = withinTime(10_000, ending.promise);
  ending.resolve("in time");
  assert.equal(await second, "in time");
  await assert.rejects(first, /^Late: No answer within 5 ms$/);
  await assert.rejects(withinTime(1, never.promise), /No answer within 1 ms/);
});
