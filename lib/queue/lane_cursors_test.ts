import assert from "node:assert/strict";
import type { GroupId } from "../ids.ts";
import { LaneCursors } from "./lane_cursors.ts";

const [a, b, c] = ["a", "b", "c"] as unknown as readonly [GroupId, GroupId, GroupId];
const nobody: ReadonlySet<GroupId> = new Set();

function news(group: GroupId, firstId: number, lastId = firstId) {
  return { group, firstId, lastId };
}

Deno.test("next() names lanes in turns: who was served waits until the others were", () => {
  const lanes = new LaneCursors();
  lanes.heard([news(a, 1, 10), news(b, 11, 20), news(c, 21, 30)]);
  const first = lanes.next(2, nobody);
  assert.deepEqual(first, [{ group: a, from: 1 }, { group: b, from: 11 }]);
  lanes.served(lanes.began(), first, 1, new Map([[a, [1]], [b, [11]]]), false);
  assert.deepEqual(lanes.next(3, nobody).map(({ group }) => group), [c, a, b]);
  assert.deepEqual(lanes.next(3, new Set([c])), [{ group: a, from: 2 }, { group: b, from: 12 }]);
});

Deno.test("served() forgets a lane that gave less than was asked for", () => {
  const lanes = new LaneCursors();
  lanes.heard([news(a, 1, 3), news(b, 4, 90)]);
  const asked = lanes.next(2, nobody);
  lanes.served(lanes.began(), asked, 5, new Map([[a, [1, 2, 3]], [b, [4, 5, 6, 7, 8]]]), true);
  assert.deepEqual(lanes.next(2, nobody), [{ group: b, from: 9 }]);
});

Deno.test("served() keeps a lane of which news came while it was read", () => {
  const lanes = new LaneCursors();
  lanes.heard([news(a, 1)]);
  const asked = lanes.next(1, nobody);
  const began = lanes.began();
  lanes.heard([news(a, 7)]);
  lanes.served(began, asked, 5, new Map([[a, [1]]]), true);
  assert.deepEqual(lanes.next(1, nobody), [{ group: a, from: 2 }]);
});

Deno.test("served() keeps lanes that were not looked at because enough came before", () => {
  const lanes = new LaneCursors();
  lanes.heard([news(a, 1, 5), news(b, 6, 9)]);
  lanes.served(lanes.began(), lanes.next(2, nobody), 5, new Map([[a, [1, 2, 3, 4, 5]]]), false);
  assert.deepEqual(lanes.next(2, nobody), [{ group: b, from: 6 }, { group: a, from: 6 }]);
});

Deno.test("newsAfter() looks back a second, ten times a second, and else only ahead", () => {
  const lanes = new LaneCursors();
  assert.equal(lanes.newsAfter(0), 0);
  lanes.heard([news(a, 1, 100)]);
  assert.equal(lanes.newsAfter(50), 100);
  assert.equal(lanes.newsAfter(100), 0);
  lanes.heard([news(a, 101, 200)]);
  assert.equal(lanes.newsAfter(900), 0);
  assert.equal(lanes.newsAfter(1_150), 100);
  assert.equal(lanes.newsAfter(5_000), 200);
});

Deno.test("heard() moves a lane back to an entry that became visible late", () => {
  const lanes = new LaneCursors();
  lanes.heard([news(a, 5, 9)]);
  lanes.served(lanes.began(), lanes.next(1, nobody), 3, new Map([[a, [5, 6, 7]]]), false);
  lanes.heard([news(a, 4)]);
  assert.deepEqual(lanes.next(1, nobody), [{ group: a, from: 4 }]);
});

Deno.test("scanned() starts over where ids start over, and lowest() is below every entry", () => {
  const lanes = new LaneCursors();
  lanes.heard([news(a, 500, 900)]);
  assert.equal(lanes.newsAfter(0), 900);
  assert.equal(lanes.lowest(), 500);
  lanes.forget();
  lanes.scanned([{ group: b, firstId: 2 }], 3);
  assert.equal(lanes.newsAfter(0), 3);
  assert.equal(lanes.lowest(), 2);
  assert.deepEqual(lanes.next(5, nobody), [{ group: b, from: 2 }]);
});
