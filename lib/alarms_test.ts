import assert from "node:assert/strict";
import { clearAlarm, setAlarm } from "./alarms.ts";

Deno.test("setAlarm() rings each alarm once, the earlier first, however they were set", async () => {
  const rung: string[] = [];
  const last = Promise.withResolvers<void>();
  setAlarm(30, () => {
    rung.push("late");
    last.resolve();
  });
  setAlarm(1, () => rung.push("early"));
  await last.promise;
  assert.deepEqual(rung, ["early", "late"]);
});

Deno.test("clearAlarm() calls off one alarm, and leaves no timer behind after the last", async () => {
  const rung: string[] = [];
  const done = Promise.withResolvers<void>();
  const off = setAlarm(1, () => rung.push("off"));
  const far = setAlarm(3_600_000, () => rung.push("far"));
  setAlarm(5, () => done.resolve());
  clearAlarm(off);
  await done.promise;
  clearAlarm(far);
  clearAlarm(far);
  assert.deepEqual(rung, []);
});

Deno.test("An alarm may call off another that is due with it, and set a new one", async () => {
  const rung: string[] = [];
  const done = Promise.withResolvers<void>();
  const first = setAlarm(1, () => {
    rung.push("first");
    clearAlarm(second);
    setAlarm(1, () => done.resolve());
  });
  const second = setAlarm(1, () => rung.push("second"));
  // Both are due before anybody looks.
  for (const until = performance.now() + 5; performance.now() < until;);
  await done.promise;
  assert.deepEqual(rung, ["first"]);
  assert.equal(first.place >= 0, true);
});
