import assert from "node:assert/strict";
import { clearAlarm, setAlarm } from "./alarms.ts";

/** Lets time pass without a turn for anybody. */
function hold(ms: number): void {
  for (const until = performance.now() + ms; performance.now() < until;);
}

Deno.test("setAlarm() rings each alarm once, the earlier first, however they were set", async () => {
  const rung: string[] = [];
  const last = Promise.withResolvers<void>();
  setAlarm(3, () => {
    rung.push("late");
    last.resolve();
  });
  setAlarm(1, () => rung.push("early"));
  hold(5);
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

Deno.test("What an alarm sets off has its turn before the next rings, though both are due", async () => {
  const rung: string[] = [];
  const [first, done] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const second = setAlarm(2, () => rung.push("second"));
  const calledOff = first.promise.then(() => clearAlarm(second));
  setAlarm(1, () => {
    rung.push("first");
    first.resolve();
  });
  setAlarm(3, () => done.resolve());
  hold(5);
  await done.promise;
  await calledOff;
  assert.deepEqual(rung, ["first"]);
});

Deno.test("An alarm that calls off all that is left leaves no timer behind", async () => {
  const done = Promise.withResolvers<void>();
  const far = setAlarm(3_600_000, () => {});
  setAlarm(1, () => {
    clearAlarm(far);
    done.resolve();
  });
  const due = setAlarm(2, () => {});
  hold(4);
  await done.promise;
  clearAlarm(due);
});

Deno.test("setAlarm() takes what setTimeout would not: the far future, for ever, and no nonsense", () => {
  const rung: string[] = [];
  const alarms = [2 ** 40, Infinity].map((ms) => setAlarm(ms, () => rung.push(String(ms))));
  assert.throws(() => setAlarm(NaN, () => {}), /Cannot set an alarm/);
  for (const alarm of alarms) clearAlarm(alarm);
  assert.deepEqual(rung, []);
});
