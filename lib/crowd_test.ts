import assert from "node:assert/strict";
import { Crowd, KeyedCrowd } from "./crowd.ts";

Deno.test("Crowd holds what has entered and not left", () => {
  const crowd = new Crowd<{ name: string }>();
  const middle = { name: "b" };
  crowd.enter({ name: "a" });
  const place = crowd.enter(middle);
  crowd.enter({ name: "c" });
  assert.equal(crowd.size, 3);
  assert.equal(crowd.leave(middle, place), true);
  assert.equal(crowd.size, 2);
  assert.deepEqual([...crowd].map(({ name }) => name), ["a", "c"]);
});

Deno.test("Crowd lets nobody leave twice, nor in the place of who came after", () => {
  const crowd = new Crowd<{ name: string }>();
  const [first, second] = [{ name: "first" }, { name: "second" }];
  const place = crowd.enter(first);
  assert.equal(crowd.leave(first, place), true);
  assert.equal(crowd.leave(first, place), false);
  assert.equal(crowd.enter(second), place, "the place is used again");
  assert.equal(crowd.leave(first, place), false);
  assert.deepEqual([...crowd], [second]);
});

Deno.test("Crowd stays as small as it was at its fullest", () => {
  const crowd = new Crowd<{ n: number }>();
  const places: number[] = [];
  for (let n = 0; n < 1_000; n++) {
    const item = { n };
    const place = crowd.enter(item);
    places.push(place);
    crowd.leave(item, place);
  }
  assert.deepEqual(new Set(places), new Set([0]));
  assert.equal(crowd.size, 0);
});

Deno.test("KeyedCrowd finds what has entered by its key, also where keys share a shelf", () => {
  const crowd = new KeyedCrowd<number, string>((key) => key);
  for (const key of [1, 257, 513]) crowd.enter(key, `item ${key}`);
  assert.equal(crowd.get(257), "item 257");
  assert.equal(crowd.get(2), undefined);
  assert.equal(crowd.leave(257), true);
  assert.equal(crowd.leave(257), false);
  assert.equal(crowd.get(257), undefined);
  assert.equal(crowd.size, 2);
  assert.deepEqual([...crowd.entries()], [[1, "item 1"], [513, "item 513"]]);
});
