import assert from "node:assert/strict";
import type { Socket } from "node:net";
import { Tap } from "./tap.ts";

/** A socket as a Tap sees it, and what has been read from it. */
function socketReading(seen: number[]): { socket: Socket; read(taken: unknown): void } {
  const handle = {
    readStart: () => 0,
    readStop: () => 0,
    onread: (taken: unknown) => void seen.push(taken instanceof ArrayBuffer ? taken.byteLength : -1),
  };
  return { socket: { _handle: handle } as unknown as Socket, read: (taken) => handle.onread(taken) };
}

Deno.test("Tap.freeTaken() frees what TLS has read when TLS has had it, and nothing that others may hold", () => {
  const seen: number[] = [];
  const { socket, read } = socketReading(seen);
  new Tap(socket).freeTaken();
  const large = new ArrayBuffer(65_536);
  read(large);
  assert.deepEqual(seen, [65_536]);
  assert.equal(large.byteLength, 0);
  const small = new ArrayBuffer(100);
  const part = new Uint8Array(new ArrayBuffer(65_536), 0, 5000);
  for (const taken of [small, part, undefined]) read(taken);
  assert.deepEqual(seen, [65_536, 100, -1, -1]);
  assert.equal(small.byteLength, 100);
  assert.equal(part.length, 5000);
});

Deno.test("Tap.freeTaken() leaves a socket alone that has been destroyed", () => {
  new Tap({ _handle: null } as unknown as Socket).freeTaken();
});
