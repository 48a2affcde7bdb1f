import assert from "node:assert/strict";
import { ServiceClock } from "./service_clock.ts";

Deno.test("correct() takes over a time that is a minute or more away, and nothing else", () => {
  const start = Date.parse("2026-01-02T03:04:05Z");
  let ms = start;
  const clock = new ServiceClock(() => new Date(ms));
  for (const field of [undefined, null, "", "yesterday", "Fri, 02 Jan 2026 03:04:50 GMT"]) {
    assert.equal(clock.correct(field), false);
  }
  assert.equal(clock.now().getTime(), start);
  assert.equal(clock.correct("Fri, 02 Jan 2026 05:04:05 GMT"), true);
  assert.equal(clock.now().getTime(), start + 7_200_000);
  ms += 1000;
  assert.equal(clock.now().getTime(), start + 7_201_000);
  assert.equal(clock.correct("Fri, 02 Jan 2026 05:04:06 GMT"), false);
  assert.equal(clock.correct("Fri, 02 Jan 2026 03:04:06 GMT"), true);
  assert.equal(clock.now().getTime(), start + 1000);
});
