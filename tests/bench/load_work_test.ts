import assert from "node:assert/strict";
import { LoadWork } from "./load_work.ts";

Deno.test("LoadWork hands out the total and then nothing", async () => {
  const work = new LoadWork({ total: 2, seconds: 0, rate: 0 }, () => 0);
  assert.deepEqual([(await work.take())?.sequence, (await work.take())?.sequence, await work.take()], [
    0,
    1,
    undefined,
  ]);
});

Deno.test("LoadWork keeps the last ones back until it may end", async () => {
  const told = Promise.withResolvers<void>();
  const work = new LoadWork({ total: 2, seconds: 0, rate: 0, keep: 1 }, () => 0, told.promise);
  assert.equal((await work.take())?.sequence, 0);
  let last: number | undefined;
  const taken = work.take().then((ticket) => last = ticket?.sequence);
  await new Promise((resolve) => setTimeout(resolve, 0));
  assert.equal(last, undefined);
  told.resolve();
  await taken;
  assert.equal(last, 1);
  assert.equal(await work.take(), undefined);
});

Deno.test("LoadWork ends when its seconds are over", async () => {
  let now = 0;
  const work = new LoadWork({ total: 0, seconds: 1, rate: 0 }, () => now);
  assert.equal((await work.take())?.sequence, 0);
  now = 1_000;
  assert.equal(await work.take(), undefined);
});

Deno.test("LoadWork names the due time of a message that begins late", async () => {
  let now = 0;
  const work = new LoadWork({ total: 0, seconds: 60, rate: 100 }, () => now);
  now = 5_000;
  await work.take();
  assert.equal((await work.take())?.dueAt, 10);
});
