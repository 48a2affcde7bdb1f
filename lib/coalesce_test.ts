import assert from "node:assert/strict";
import { coalesce, type ItemResult, TooManyWaiting } from "./coalesce.ts";

/** A `run` whose batches end when the test says so. */
function controlled() {
  const batches: { items: readonly number[]; end: () => void; fail: (error: unknown) => void }[] = [];
  function run(items: readonly number[]): Promise<readonly ItemResult<string>[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly ItemResult<string>[]>();
    batches.push({ items, end: () => resolve(items.map(named)), fail: reject });
    return promise;
  }
  return { batches, run };
}

function named(item: number): ItemResult<string> {
  return { ok: true, value: `item ${item}` };
}

/** `performance.now()` stands still, so that no gap is over because this process was slow. */
function standingClock(): Disposable {
  const [now, real] = [performance.now(), performance.now];
  performance.now = () => now;
  return { [Symbol.dispose]: () => void (performance.now = real) };
}

async function settleMicrotasks(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

function numbers(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

Deno.test("coalesce() runs a lone item at once", async () => {
  const { batches, run } = controlled();
  const call = coalesce(run);
  const answer = call(7);
  await settleMicrotasks();
  assert.deepEqual(batches.map((batch) => batch.items), [[7]]);
  batches[0]?.end();
  assert.equal(await answer, "item 7");
});

Deno.test("coalesce() gathers what arrives while a batch is in flight, in order", async () => {
  const { batches, run } = controlled();
  const sizes: number[] = [];
  const call = coalesce(run, { onBatch: (size) => sizes.push(size) });
  const first = call(1);
  await settleMicrotasks();
  const later = [2, 3, 4].map(call);
  await settleMicrotasks();
  assert.equal(batches.length, 1);
  batches[0]?.end();
  await first;
  await settleMicrotasks();
  assert.deepEqual(batches[1]?.items, [2, 3, 4]);
  batches[1]?.end();
  assert.deepEqual(await Promise.all(later), ["item 2", "item 3", "item 4"]);
  assert.deepEqual(sizes, [1, 3]);
});

Deno.test("coalesce() puts callers of the same moment into one batch", async () => {
  const { batches, run } = controlled();
  const call = coalesce(run);
  const answers = numbers(1, 20).map(call);
  await settleMicrotasks();
  assert.deepEqual(batches.map((batch) => batch.items.length), [20]);
  batches[0]?.end();
  await Promise.all(answers);
});

Deno.test("coalesce() leaves what is over the count for the next batch", async () => {
  const sizes: number[] = [];
  const call = coalesce((items: readonly number[]) => Promise.resolve(items.map(named)), {
    maxItems: 4,
    onBatch: (size) => sizes.push(size),
  });
  assert.deepEqual(await Promise.all(numbers(1, 10).map(call)), numbers(1, 10).map((n) => `item ${n}`));
  assert.deepEqual(sizes, [4, 4, 2]);
});

Deno.test("coalesce() has a limit of 500 items when none is given", async () => {
  const sizes: number[] = [];
  const call = coalesce((items: readonly number[]) => Promise.resolve(items.map(named)), {
    onBatch: (size) => sizes.push(size),
  });
  await Promise.all(numbers(1, 1200).map(call));
  assert.deepEqual(sizes, [500, 500, 200]);
});

Deno.test("coalesce() leaves what is over the bytes for the next batch, and takes one that is over alone", async () => {
  const batches: (readonly number[])[] = [];
  const call = coalesce((items: readonly number[]) => {
    batches.push(items);
    return Promise.resolve(items.map(named));
  }, { maxBytes: 100, bytesOf: (item) => item });
  await Promise.all([60, 40, 1, 500, 99, 1].map(call));
  assert.deepEqual(batches, [[60, 40], [1], [500], [99, 1]]);
});

Deno.test("coalesce() runs as many batches at a time as it may", async () => {
  const { batches, run } = controlled();
  const call = coalesce(run, { parallel: 2, maxItems: 2 });
  const answers = numbers(1, 6).map(call);
  await settleMicrotasks();
  assert.deepEqual(batches.map((batch) => batch.items), [[1, 2], [3, 4]]);
  batches[1]?.end();
  await settleMicrotasks();
  assert.deepEqual(batches.map((batch) => batch.items), [[1, 2], [3, 4], [5, 6]]);
  batches.forEach((batch) => batch.end());
  await Promise.all(answers);
});

Deno.test("coalesce() answers each item on its own", async () => {
  const call = coalesce((items: readonly number[]) =>
    Promise.resolve(items.map((item): ItemResult<string> => {
      return item === 2 ? { ok: false, error: new Error("over quota") } : named(item);
    }))
  );
  const ends = await Promise.allSettled([1, 2, 3].map(call));
  assert.deepEqual(ends.map((end) => end.status), ["fulfilled", "rejected", "fulfilled"]);
});

Deno.test("coalesce() retries in halves, so that only the item at fault fails", async () => {
  const runs: number[] = [];
  const call = coalesce((items: readonly number[]) => {
    runs.push(items.length);
    if (items.includes(13)) throw new Error("bad value");
    return Promise.resolve(items.map(named));
  });
  const ends = await Promise.allSettled(numbers(1, 64).map(call));
  ends.forEach((end, index) => assert.equal(end.status, index === 12 ? "rejected" : "fulfilled"));
  assert.ok(runs.length <= 13, `it took ${runs.length} runs`);
});

Deno.test("coalesce() lets every item at fault fail alone while others in between succeed", async () => {
  const bad = new Set([1, 9, 20, 33, 48, 50, 64]);
  const call = coalesce((items: readonly number[]) => {
    if (items.some((item) => bad.has(item))) return Promise.reject(new Error("bad value"));
    return Promise.resolve(items.map(named));
  });
  const ends = await Promise.allSettled(numbers(1, 64).map(call));
  ends.forEach((end, index) => assert.equal(end.status, bad.has(index + 1) ? "rejected" : "fulfilled"));
});

Deno.test("coalesce() takes three lone failures in a row for an outage and fails the rest fast", async () => {
  let runs = 0;
  const call = coalesce((_: readonly number[]) => Promise.reject(new Error(`down ${++runs}`)));
  const ends = await Promise.allSettled(numbers(1, 500).map(call));
  assert.ok(ends.every((end) => end.status === "rejected"));
  assert.ok(runs < 20, `it took ${runs} runs`);
  const last = ends.at(-1);
  assert.equal(last?.status === "rejected" && last.reason.message, `down ${runs}`);
});

Deno.test("coalesce() begins anew after an outage", async () => {
  let down = true;
  const call = coalesce((items: readonly number[]) => {
    return down ? Promise.reject(new Error("down")) : Promise.resolve(items.map(named));
  });
  await Promise.allSettled(numbers(1, 10).map(call));
  down = false;
  assert.deepEqual(await Promise.all([1, 2].map(call)), ["item 1", "item 2"]);
});

Deno.test("coalesce() does not try halves of an outage that is known as one", async () => {
  let runs = 0;
  const call = coalesce((_: readonly number[]) => {
    runs++;
    return Promise.reject(new TypeError("connection lost"));
  }, { isOutage: (error) => error instanceof TypeError });
  const ends = await Promise.allSettled(numbers(1, 10).map(call));
  assert.ok(ends.every((end) => end.status === "rejected"));
  assert.equal(runs, 1);
});

Deno.test("coalesce() rejects a batch whose results do not match its items, without running it again", async () => {
  let runs = 0;
  const call = coalesce((_: readonly number[]) => {
    runs++;
    return Promise.resolve([named(1)]);
  });
  const ends = await Promise.allSettled([1, 2].map(call));
  assert.ok(ends.every((end) => end.status === "rejected"));
  assert.equal(runs, 1);
});

Deno.test("coalesce() lets lanes take turns, also from one batch to the next", async () => {
  const batches: (readonly string[])[] = [];
  const call = coalesce((items: readonly string[]) => {
    batches.push(items);
    return Promise.resolve(items.map((item): ItemResult<string> => ({ ok: true, value: item })));
  }, { maxItems: 4, laneOf: (item) => item.slice(0, 1) });
  await Promise.all(["a1", "a2", "a3", "a4", "a5", "a6", "b1", "c1", "b2"].map(call));
  assert.deepEqual(batches, [["a1", "b1", "c1", "a2"], ["b2", "a3", "a4", "a5"], ["a6"]]);
});

Deno.test("coalesce() keeps a lane that waits while thousands of others come and go", async () => {
  const { batches, run } = controlled();
  // The first three share a lane, every other item has one of its own.
  const call = coalesce(run, { maxItems: 5_000, laneOf: (item) => String(Math.max(3, item)) });
  const early = numbers(4, 3_000).map(call);
  await settleMicrotasks();
  const waiting = [1, 2, ...numbers(3_001, 6_000), 3].map(call);
  batches[0]?.end();
  await Promise.all(early);
  await settleMicrotasks();
  batches[1]?.end();
  await Promise.all(waiting);
  assert.deepEqual(batches[1]?.items, [1, ...numbers(3_001, 6_000), 2, 3]);
});

Deno.test("coalesce() refuses at once when too many wait", async () => {
  const { batches, run } = controlled();
  const call = coalesce(run, { maxWaiting: 3 });
  const first = call(1);
  await settleMicrotasks();
  const waiting = [2, 3, 4].map(call);
  await assert.rejects(call(5), TooManyWaiting);
  batches[0]?.end();
  await first;
  await settleMicrotasks();
  batches[1]?.end();
  await Promise.all(waiting);
});

Deno.test("coalesce() refuses at once when too many bytes wait, but never an item that waits alone", async () => {
  const { batches, run } = controlled();
  const call = coalesce(run, { maxWaitingBytes: 100, bytesOf: (item) => item });
  const first = call(500);
  await assert.rejects(call(1), TooManyWaiting);
  await settleMicrotasks();
  const waiting = [60, 40].map(call);
  await assert.rejects(call(1), TooManyWaiting);
  batches[0]?.end();
  await first;
  await settleMicrotasks();
  batches[1]?.end();
  await Promise.all(waiting);
});

Deno.test("coalesce() keeps the order within a lane over very many items", async () => {
  const seen: number[] = [];
  const call = coalesce((items: readonly number[]) => {
    seen.push(...items);
    return Promise.resolve(items.map(named));
  });
  await Promise.all(numbers(1, 9_999).map(call));
  assert.deepEqual(seen, numbers(1, 9_999));
});

Deno.test("coalesce() keeps a gap after a crowded batch, and none after a small one", async () => {
  using _clock = standingClock();
  const { batches, run } = controlled();
  const call = coalesce(run, { gapMs: 5 });
  const crowd = numbers(1, 4).map((item) => call(item));
  await settleMicrotasks();
  batches[0]?.end();
  await Promise.all(crowd);
  const late = call(5);
  await settleMicrotasks();
  assert.equal(batches.length, 1);
  while (batches.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
  batches[1]?.end();
  await late;
  const alone = call(6);
  await settleMicrotasks();
  assert.deepEqual(batches.map((batch) => batch.items), [[1, 2, 3, 4], [5], [6]]);
  batches[2]?.end();
  await alone;
});
