import assert from "node:assert/strict";
import type { GroupId } from "../../lib/ids.ts";
import { Slots } from "./slots.ts";

const [a, b] = ["a", "b"] as GroupId[] as [GroupId, GroupId];
const never = new AbortController().signal;

async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const marker = Symbol();
  await Promise.resolve();
  await Promise.resolve();
  return await Promise.race([promise, Promise.resolve(marker)]) !== marker;
}

Deno.test("take() gives as many places as there are, and the next when one is given back", async () => {
  const slots = new Slots(2);
  const one = await slots.take(a, never);
  await slots.take(a, never);
  const third = slots.take(a, never);
  assert.equal(await isSettled(third), false);
  assert.equal(slots.used, 2);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  await third;
  assert.equal(slots.used, 2);
});

Deno.test("take() gives a free place to the group that holds fewest", async () => {
  const slots = new Slots(2);
  const held = [await slots.take(a, never), await slots.take(a, never)];
  const more = slots.take(a, never);
  const other = slots.take(b, never);
  held[0]?.[Symbol.dispose]();
  await other;
  assert.equal(await isSettled(more), false);
});

Deno.test("take() keeps the last places from a group whose work was slow of late", async () => {
  let now = 0;
  const slots = new Slots(10, () => now);
  const slow = await slots.take(a, never);
  now = 5000;
  slow[Symbol.dispose]();
  const taken = Array.from({ length: 10 }, () => slots.take(a, never));
  await Promise.all(taken.slice(0, 8));
  assert.equal(slots.used, 8);
  await slots.take(b, never);
  assert.equal(slots.used, 9);
});

Deno.test("take() throws the signal's reason, and does not lose the place", async () => {
  const slots = new Slots(1);
  const held = await slots.take(a, never);
  const gone = new AbortController();
  const waiting = slots.take(a, gone.signal);
  gone.abort(new Error("gone"));
  await assert.rejects(waiting, /gone/);
  held[Symbol.dispose]();
  await slots.take(b, never);
});

Deno.test("close() refuses who waits and who asks", async () => {
  const slots = new Slots(1);
  await slots.take(a, never);
  const waiting = slots.take(a, never);
  slots.close(new Error("closed"));
  await assert.rejects(waiting, /closed/);
  await assert.rejects(slots.take(b, never), /closed/);
});
