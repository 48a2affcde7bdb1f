import assert from "node:assert/strict";
import { afterCall, askBreaker, type BreakerState, closedBreaker } from "./breaker.ts";

const probeMs = 10_000;

function failing(times: number, from: BreakerState = closedBreaker, nowMs = 0): BreakerState {
  let state = from;
  for (let n = 0; n < times; n++) state = afterCall(state, true, nowMs);
  return state;
}

Deno.test("afterCall() opens after five failures in a row, and a success starts the count anew", () => {
  assert.equal(askBreaker(failing(4), 0, probeMs).kind, "go");
  assert.deepEqual(askBreaker(failing(5), 0, probeMs), { kind: "wait", forMs: 30_000 });
  const interrupted = failing(4, afterCall(failing(4), false, 0));
  assert.equal(askBreaker(interrupted, 0, probeMs).kind, "go");
});

Deno.test("askBreaker() lets one probe through after the cool-down while the others wait for it", () => {
  const open = failing(5);
  assert.equal(askBreaker(open, 29_999, probeMs).kind, "wait");
  const probe = askBreaker(open, 30_000, probeMs);
  assert.ok(probe.kind === "go");
  assert.deepEqual(askBreaker(probe.state, 30_001, probeMs), { kind: "wait", forMs: 9_999 });
  assert.equal(askBreaker(probe.state, 40_000, probeMs).kind, "go");
});

Deno.test("afterCall() closes after a probe that worked and doubles the cool-down after one that failed", () => {
  const probe = askBreaker(failing(5), 30_000, probeMs);
  assert.ok(probe.kind === "go");
  assert.deepEqual(afterCall(probe.state, false, 30_500), closedBreaker);
  const again = afterCall(probe.state, true, 30_500);
  assert.deepEqual(askBreaker(again, 30_500, probeMs), { kind: "wait", forMs: 60_000 });
});

Deno.test("afterCall() never cools down for more than five minutes", () => {
  let state = failing(5);
  for (let n = 0; n < 40; n++) {
    const at = state.openUntilMs ?? 0;
    const probe = askBreaker(state, at, probeMs);
    assert.ok(probe.kind === "go");
    state = afterCall(probe.state, true, at);
    assert.ok((state.openUntilMs ?? 0) - at <= 300_000);
  }
});

Deno.test("afterCall() learns nothing from calls that were under way when it opened", () => {
  const open = failing(5);
  assert.deepEqual(failing(5, open, 100), open);
});
