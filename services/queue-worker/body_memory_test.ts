import assert from "node:assert/strict";
import { BodyMemory } from "./body_memory.ts";

const MiB = 1024 * 1024;
const { signal } = new AbortController();

Deno.test("BodyMemory gives small requests room while large ones wait for each other", async () => {
  const memory = new BodyMemory(256 * MiB);
  const large = await memory.reserve(200 * MiB, signal);
  const waiting = memory.reserve(100 * MiB, signal);
  for (let count = 0; count < 100; count++) (await memory.reserve(30_000, signal))[Symbol.dispose]();
  assert.equal(memory.used, 200 * MiB);
  large[Symbol.dispose]();
  using _next = await waiting;
  assert.equal(memory.used, 100 * MiB);
});

Deno.test("BodyMemory never gives more than its limit, and one that is above it alone", async () => {
  const memory = new BodyMemory(256 * MiB);
  using one = await memory.reserve(1000 * MiB, signal);
  assert.equal(memory.used, 224 * MiB);
  const stop = new AbortController();
  const waiting = assert.rejects(memory.reserve(2 * MiB, stop.signal), /stopped/);
  stop.abort(new Error("stopped"));
  await waiting;
  one[Symbol.dispose]();
  assert.equal(memory.used, 0);
});
