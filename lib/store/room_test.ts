import assert from "node:assert/strict";
import { Room } from "./room.ts";

Deno.test("Room refuses when less is free than is to stay free", async () => {
  let free = 1000;
  let now = 0;
  const room = new Room("folder", 1000, () => Promise.resolve(free), () => now);
  await room.check();
  free = 999;
  now += 1000;
  await assert.rejects(room.check(), {
    name: "Refusal",
    code: "body_store_full",
    message: "Cannot store a body: no room is left",
  });
});

Deno.test("Room looks at most once a second", async () => {
  let looks = 0;
  let now = 0;
  const room = new Room("folder", 1, () => Promise.resolve(++looks), () => now);
  await Promise.all(Array.from({ length: 100 }, () => room.check()));
  now += 999;
  await room.check();
  assert.equal(looks, 1);
  now += 1;
  await room.check();
  assert.equal(looks, 2);
});

Deno.test("Room looks again after a look that failed", async () => {
  const looks = [Promise.reject(new Error("the disk does not work")), Promise.resolve(5)];
  const room = new Room("folder", 1, () => looks.shift() ?? Promise.resolve(5), () => 0);
  await assert.rejects(room.check(), /does not work/);
  await room.check();
});

Deno.test("Room waits two seconds for a look, and begins no other while it hangs", async () => {
  let looks = 0;
  let now = 0;
  const hanging = Promise.withResolvers<number>();
  const room = new Room("folder", 1, () => (looks++, hanging.promise), () => now);
  await assert.rejects(room.check(), { name: "Late" });
  now = 60_000;
  await assert.rejects(room.check(), { name: "Late" });
  assert.equal(looks, 1);
  hanging.resolve(5);
  await hanging.promise;
  await room.check();
});
