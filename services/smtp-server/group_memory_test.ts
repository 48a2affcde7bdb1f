import assert from "node:assert/strict";
import { type GroupId, newId } from "../../lib/ids.ts";
import { GroupMemory } from "./group_memory.ts";

const hour = 3_600_000;
const [a, b, c] = [newId<GroupId>(), newId<GroupId>(), newId<GroupId>()];

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

/** Asks for so many shares of 10 bytes, and tells how many were granted at once and how to end. */
async function take(memory: GroupMemory, group: GroupId, count: number) {
  const gone = new AbortController();
  const granted: Disposable[] = [];
  const asked = Array.from(
    { length: count },
    () => memory.reserve(group, 10, hour, gone.signal).then((held) => void granted.push(held), noteAbort),
  );
  await turns();
  return {
    granted,
    async end() {
      gone.abort(new Error("gone"));
      for (const held of granted) held[Symbol.dispose]();
      await Promise.all(asked);
    },
  };
}

function noteAbort(error: unknown): void {
  assert.ok(error instanceof Error && error.message === "gone");
}

Deno.test("GroupMemory gives one group half of all at most, and others do not wait behind it", async () => {
  const memory = new GroupMemory(120);
  const greedy = await take(memory, a, 100);
  assert.deepEqual([greedy.granted.length, memory.waiting], [6, 94]);
  const second = await take(memory, b, 3);
  const third = await take(memory, c, 1);
  assert.deepEqual([second.granted.length, third.granted.length], [3, 1]);
  assert.equal(memory.used, 100);
  for (const each of [greedy, second, third]) await each.end();
  assert.deepEqual([memory.used, memory.waiting], [0, 0]);
});

Deno.test("GroupMemory leaves room for the next group, however many fill their part", async () => {
  const memory = new GroupMemory(1_000);
  const all = [];
  for (let n = 0; n < 6; n++) {
    const each = await take(memory, newId<GroupId>(), 1_000);
    assert.ok(each.granted.length > 0);
    all.push(each);
  }
  assert.deepEqual(all.map(({ granted }) => granted.length), [50, 25, 12, 6, 3, 2]);
  for (const each of all) await each.end();
  assert.deepEqual([memory.used, memory.waiting], [0, 0]);
});

Deno.test("GroupMemory serves groups in turn as memory becomes free, each in the order of asking", async () => {
  const memory = new GroupMemory(20);
  const held = await memory.reserve(c, 20, hour);
  const order: string[] = [];
  const asked = ([["a1", a], ["a2", a], ["b1", b]] as const).map(async ([name, group]) => {
    using _held = await memory.reserve(group, 10, hour);
    order.push(name);
  });
  await turns();
  assert.deepEqual([order, memory.waiting], [[], 3]);
  held[Symbol.dispose]();
  await Promise.all(asked);
  assert.deepEqual(order, ["a1", "b1", "a2"]);
  assert.equal(memory.used, 0);
});

Deno.test("GroupMemory refuses a request after its time, and gives a place up when the client is gone", async () => {
  const memory = new GroupMemory(10);
  using _held = await memory.reserve(a, 10, hour);
  await assert.rejects(memory.reserve(b, 10, 0), { code: "body_memory_full" });
  const gone = new AbortController();
  const waiting = memory.reserve(b, 10, hour, gone.signal);
  gone.abort(new Error("gone"));
  await assert.rejects(waiting, /gone/);
  await assert.rejects(memory.reserve(b, 10, hour, gone.signal), /gone/);
  assert.deepEqual([memory.used, memory.waiting], [10, 0]);
});

Deno.test("GroupMemory grants what is above its limit when everything is free, takes it back once", async () => {
  const memory = new GroupMemory(100);
  const held = await memory.reserve(a, 500, hour);
  assert.equal(memory.used, 100);
  held[Symbol.dispose]();
  held[Symbol.dispose]();
  assert.equal(memory.used, 0);
});
