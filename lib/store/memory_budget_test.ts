import assert from "node:assert/strict";
import { MemoryBudget } from "./memory_budget.ts";

const hour = 3_600_000;

async function turns(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

Deno.test("MemoryBudget grants at once what fits, and takes it back once", async () => {
  const budget = new MemoryBudget(100);
  const first = await budget.reserve(60, hour);
  const second = await budget.reserve(40, hour);
  assert.equal(budget.used, 100);
  first[Symbol.dispose]();
  first[Symbol.dispose]();
  assert.equal(budget.used, 40);
  second[Symbol.dispose]();
  assert.equal(budget.used, 0);
});

Deno.test("MemoryBudget serves in the order of asking, so that small requests do not starve a large one", async () => {
  const budget = new MemoryBudget(100);
  const held = await budget.reserve(80, hour);
  const order: string[] = [];
  const large = budget.reserve(90, hour).then((grant) => (order.push("large"), grant));
  const small = budget.reserve(10, hour).then((grant) => (order.push("small"), grant));
  await turns();
  assert.deepEqual([order, budget.waiting], [[], 2]);
  held[Symbol.dispose]();
  await Promise.all([large, small]);
  assert.deepEqual(order, ["large", "small"]);
});

Deno.test("MemoryBudget refuses a request after its time, and serves those who waited behind it", async () => {
  const budget = new MemoryBudget(100);
  using _held = await budget.reserve(50, hour);
  const large = budget.reserve(60, 1);
  const small = budget.reserve(50, hour);
  await assert.rejects(large, { name: "Refusal", code: "body_memory_full" });
  using _grant = await small;
  assert.deepEqual([budget.used, budget.waiting], [100, 0]);
});

Deno.test("MemoryBudget gives a waiting place up when its signal is aborted", async () => {
  const budget = new MemoryBudget(100);
  using _held = await budget.reserve(100, hour);
  const gone = new AbortController();
  const waiting = budget.reserve(1, hour, gone.signal);
  gone.abort(new Error("the client left"));
  await assert.rejects(waiting, /the client left/);
  await assert.rejects(budget.reserve(1, hour, gone.signal), /the client left/);
  assert.deepEqual([budget.used, budget.waiting], [100, 0]);
});

Deno.test("MemoryBudget grants a request above its limit when everything is free, and then all of it", async () => {
  const budget = new MemoryBudget(100);
  const small = await budget.reserve(1, hour);
  const huge = budget.reserve(1000, hour);
  await turns();
  assert.equal(budget.waiting, 1);
  small[Symbol.dispose]();
  using _all = await huge;
  assert.equal(budget.used, 100);
});

Deno.test("MemoryBudget never grants more than its limit", async () => {
  const budget = new MemoryBudget(1000);
  let most = 0;
  await Promise.all(Array.from({ length: 500 }, async (_, index) => {
    using _grant = await budget.reserve(index * 37 % 400, hour);
    most = Math.max(most, budget.used);
    await turns();
  }));
  assert.ok(most <= 1000, `${most} bytes`);
  assert.deepEqual([budget.used, budget.waiting], [0, 0]);
});
