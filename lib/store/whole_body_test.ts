import assert from "node:assert/strict";
import type { Body } from "./body.ts";
import { memoryBody } from "./memory_body.ts";
import { readWhole } from "./whole_body.ts";

function bodyOf(pieces: readonly Uint8Array[], size: number): Body {
  return {
    size,
    sha256: new Uint8Array(32),
    bytes: () => Promise.reject(new Error("A large body is not read at once")),
    stream: () => ReadableStream.from(pieces),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

Deno.test("readWhole() gives the bytes of a small body, and leaves them to whoever has them", async () => {
  const bytes = new Uint8Array([1, 2, 3]);
  {
    using whole = await readWhole(memoryBody(bytes));
    assert.deepEqual(whole.all, bytes);
  }
  assert.equal(bytes.length, 3);
});

Deno.test("readWhole() gathers a large body and frees it when it is disposed", async () => {
  const pieces = [new Uint8Array(300_000).fill(1), new Uint8Array(200_000).fill(2)];
  const whole = await readWhole(bodyOf(pieces, 500_000));
  assert.deepEqual([whole.all.length, whole.all[299_999], whole.all[300_000]], [500_000, 1, 2]);
  whole[Symbol.dispose]();
  assert.equal(whole.all.length, 0);
});

Deno.test("readWhole() throws when a body is shorter or longer than it says", async () => {
  const pieces = [new Uint8Array(300_000), new Uint8Array(200_000)];
  await assert.rejects(readWhole(bodyOf(pieces, 600_000)), /it has 600000 bytes, 500000 were read/);
  await assert.rejects(readWhole(bodyOf(pieces, 400_000)), /it has 400000 bytes, 500000 were read/);
});
