import assert from "node:assert/strict";
import fc from "fast-check";
import { holdsOne, isSegmentPath, newSegmentPath, placeOf, refOf, segmentTime } from "./segment_ref.ts";

Deno.test("newSegmentPath() names the hour in UTC, the process and the time", () => {
  const path = newSegmentPath("intake-0");
  assert.match(path, /^\d{4}\/\d\d\/\d\d\/\d\d\/intake-0-[0-9a-f-]{36}\.seg$/);
  assert.ok(isSegmentPath(path));
  assert.equal(
    new Date(segmentTime(path)).toISOString().slice(0, 13).replace(/[-T]/g, "/"),
    path.slice(0, 13),
  );
  assert.equal(holdsOne(path), false);
  assert.equal(holdsOne(newSegmentPath("intake-0", true)), true);
});

Deno.test("placeOf() reads what refOf() wrote", () => {
  for (const one of [true, false]) {
    const place = { path: newSegmentPath("a", one), offset: 163, size: 10_240 };
    assert.deepEqual(placeOf(refOf(place)), place);
  }
});

Deno.test("placeOf() takes nothing that could name another file", () => {
  const path = newSegmentPath("a");
  const wrong = [
    "inline",
    "s3:bucket/key",
    path,
    `local:${path}`,
    `local:${path}#1`,
    `local:${path}#1+`,
    `local:${path}#+1`,
    `local:${path}#0x1+1`,
    `local:${path}#1+1 `,
    `local: ${path}#1+1`,
    `local:/${path}#1+1`,
    `local:../${path}#1+1`,
    `local:${path.replace("/a-", "/../a-")}#1+1`,
    `local:${path.replace("/a-", "/a%2f-")}#1+1`,
    `local:${path.replace("/a-", "/a\0-")}#1+1`,
    `local:${path}.gone#1+1`,
    "local:../../../etc/passwd#0+10",
  ];
  for (const ref of wrong) assert.equal(placeOf(ref), undefined, ref);
  fc.assert(fc.property(fc.string(), (text) => {
    const place = placeOf(`local:${text}#1+1`);
    assert.ok(!place || isSegmentPath(place.path));
  }));
});
