import assert from "node:assert/strict";
import { retry, sleepFor } from "./retry.ts";

/** Fails a number of times, and notes how long it was told to sleep. */
function failing(times: number) {
  const slept: number[] = [];
  const attempts: number[] = [];
  return {
    slept,
    attempts,
    sleep: (ms: number) => Promise.resolve(void slept.push(ms)),
    work: (attempt: number) => {
      attempts.push(attempt);
      if (attempts.length <= times) throw new Error(`failure ${attempt}`);
      return "done";
    },
  };
}

Deno.test("retry() makes one call when it succeeds", async () => {
  const { work, attempts, slept, sleep } = failing(0);
  assert.equal(await retry(work, [500, 1000, 2000], { sleep }), "done");
  assert.deepEqual([attempts, slept], [[1], []]);
});

Deno.test("retry() calls again after each delay: three delays are four calls", async () => {
  const { work, attempts, slept, sleep } = failing(3);
  assert.equal(await retry(work, [500, 1000, 2000], { sleep }), "done");
  assert.deepEqual([attempts, slept], [[1, 2, 3, 4], [500, 1000, 2000]]);
});

Deno.test("retry() throws the last error when no delay is left", async () => {
  const { work, sleep } = failing(9);
  await assert.rejects(retry(work, [500, 1000, 2000], { sleep }), /^Error: failure 4$/);
});

Deno.test("retry() does not repeat what is not worth it", async () => {
  const { work, attempts, sleep } = failing(9);
  await assert.rejects(retry(work, [1, 2], { sleep, worthIt: () => false }), /failure 1/);
  assert.deepEqual(attempts, [1]);
});

Deno.test("retry() stops waiting when its signal is aborted, and throws the last error", async () => {
  const { work, attempts } = failing(9);
  const stop = new AbortController();
  const end = assert.rejects(retry(work, [3_600_000], { signal: stop.signal }), /failure 1/);
  await Promise.resolve();
  stop.abort();
  await end;
  assert.deepEqual(attempts, [1]);
});

Deno.test("sleepFor() returns at once when the signal was aborted before", async () => {
  await sleepFor(3_600_000, AbortSignal.abort());
});
