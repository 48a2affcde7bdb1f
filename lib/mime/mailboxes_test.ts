import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { namedMailboxes } from "./mailboxes.ts";

function named(list: string): readonly string[] {
  return namedMailboxes(Buffer.from(list).toString("latin1")).map(({ address, name }) =>
    name === undefined ? address : `${name} | ${address}`
  );
}

Deno.test("namedMailboxes() reads names in every form they are written in", () => {
  assert.deepEqual(named('Ann <a@x.test>, "B, \\"b\\"" <b@x.test>, c@x.test (Cid (jr)), d@x.test'), [
    "Ann | a@x.test",
    'B, "b" | b@x.test',
    "c@x.test",
    "d@x.test",
  ]);
  assert.deepEqual(named("e@x.test (Eve)"), ["Eve | e@x.test"]);
  assert.deepEqual(named("=?utf-8?q?J=C3=B6rg?= <j@x.test>, Größe <g@x.test>, <h@x.test>"), [
    "Jörg | j@x.test",
    "Größe | g@x.test",
    "h@x.test",
  ]);
  assert.deepEqual(named('"<x@y.test>" <a@x.test>'), ["<x@y.test> | a@x.test"]);
});

Deno.test("namedMailboxes() reads groups and leaves out what is no address", () => {
  assert.deepEqual(named("Team: Ann <a@x.test>, b@x.test;, nobody:;, broken, c@x.test"), [
    "Ann | a@x.test",
    "b@x.test",
    "c@x.test",
  ]);
  assert.deepEqual(named(""), []);
});
