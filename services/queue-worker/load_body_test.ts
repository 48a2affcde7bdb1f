import assert from "node:assert/strict";
import { memoryFor } from "./load_body.ts";

const MiB = 1024 * 1024;
const streaming = { limits: { recipients: 1, bytes: 100 * MiB } };
const gathering = { memoryPerByte: 5, limits: { recipients: 1, bytes: 30 * MiB } };

Deno.test("memoryFor() counts small bodies three times and large ones that stream by their buffers", () => {
  assert.equal(memoryFor(1000, []), 3000);
  assert.equal(memoryFor(1000, [streaming]), 3000);
  assert.equal(memoryFor(25 * MiB, [streaming]), 3 * MiB);
});

Deno.test("memoryFor() counts all that the neediest ESP of a route holds for each byte", () => {
  assert.equal(memoryFor(25 * MiB, [streaming, gathering]), 125 * MiB);
  assert.equal(memoryFor(25 * MiB, [undefined, gathering]), 125 * MiB);
  assert.equal(memoryFor(1000, [gathering]), 5000);
});

Deno.test("memoryFor() leaves out an ESP that does not take a message of this size", () => {
  assert.equal(memoryFor(31 * MiB, [gathering]), 3 * MiB);
});
