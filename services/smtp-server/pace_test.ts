import assert from "node:assert/strict";
import { Pace } from "./pace.ts";

/** Reads a body of a client that sends so many bytes every millisecond; counts the reads, and the waits among them. */
function readAll(total: number, bytesPerMs: number, mostPerRead = 65_536): { reads: number; waits: number } {
  const pace = new Pace();
  let [now, left, pending, reads, waits] = [1000, total, 0, 0, 0];
  while (left > 0) {
    const wait = pending === 0 ? 0 : pace.after(pending, 0, now);
    reads += pending === 0 ? 0 : 1;
    waits += wait === 0 ? 0 : 1;
    // Without a wait the next packet is read when it comes.
    const passed = Math.max(wait, 1 / bytesPerMs);
    now += passed;
    pending = Math.min(left, mostPerRead, Math.max(1, Math.floor(passed * bytesPerMs)));
    left -= pending;
  }
  return { reads, waits };
}

Deno.test("Pace keeps the reads of a byte a packet near one in two kilobytes", () => {
  for (const bytesPerMs of [50, 100, 1000]) {
    const { reads } = readAll(2_000_000, bytesPerMs);
    assert.ok(reads <= 64 + 2_000_000 / 2048 * 1.1, `${reads} reads at ${bytesPerMs} bytes a millisecond`);
  }
});

Deno.test("Pace gives others their turn after each millisecond of work", () => {
  const pace = new Pace();
  for (let read = 1; read < 1000; read++) {
    assert.equal(pace.after(65_536, 0.3, read), read % 3 === 0 ? 1 : 0);
  }
});

Deno.test("Pace counts a read itself as work, and reads of little as much, but for the first eight", () => {
  const waits = (bytes: number) => {
    const pace = new Pace();
    return Array.from({ length: 1000 }, (_, read) => pace.after(bytes, 0, read)).map((ms) => ms > 0);
  };
  assert.equal(waits(16_384).filter((isWait) => isWait).length, 40);
  assert.deepEqual(waits(2800).slice(0, 20), [
    ...new Array(10).fill(false),
    ...[true, false, false, false, true, false, false, false, true, false],
  ]);
});

Deno.test("Pace lets packets of Ethernet come in twos and threes, no more", () => {
  const { reads, waits } = readAll(25_000_000, 1400);
  assert.ok(reads > 5_000 && waits < reads / 2, `${reads} reads, ${waits} waits`);
});

Deno.test("Pace lets a client be that is slower than its waits", () => {
  const pace = new Pace();
  for (let read = 0; read < 1000; read++) assert.ok(pace.after(40, 0, read * 70) <= 1);
});

Deno.test("Pace never waits longer than 64 ms", () => {
  const pace = new Pace();
  let now = 0;
  for (let read = 0; read < 1000; read++) {
    const wait = pace.after(1, 0, now);
    assert.ok(wait <= 64);
    now += wait + 0.01;
  }
});
