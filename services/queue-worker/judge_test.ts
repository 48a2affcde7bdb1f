import assert from "node:assert/strict";
import type { RecipientOutcome, WaitCause } from "../../lib/esp/outcome.ts";
import { judge, type Judgement, type Obstacle, postpone, type Trial } from "./judge.ts";

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const terms = { retryDelaysMs: [30, 60, 120, 300, 900].map((s) => s * second), maxAgeMs: 72 * hour };
const first: Trial = { attempt: 1, ageMs: 0, unknown: "retry" };
const fault = { blame: "provider", code: "smtp_451", detail: "later" } as const;

function none(): number {
  return 0;
}

function retry(afterMs?: number): RecipientOutcome {
  return { kind: "retry", fault, ...(afterMs !== undefined && { afterMs }) };
}

function wait(cause: WaitCause, afterMs?: number) {
  return { kind: "wait", cause, fault, ...(afterMs !== undefined && { afterMs }) } as const;
}

function pending(delayMs: number, attemptSpent: boolean): Judgement {
  return { status: "pending", delayMs, attemptSpent };
}

Deno.test("judge() ends what was accepted and what was refused, whatever the attempt", () => {
  for (const attempt of [1, 6, 9]) {
    const trial = { ...first, attempt, ageMs: 100 * hour };
    assert.deepEqual(judge({ kind: "accepted" }, trial, terms, none), { status: "accepted" });
    assert.deepEqual(judge({ kind: "refused", fault }, trial, terms, none), { status: "refused" });
  }
});

Deno.test("judge() spends an attempt on a transient answer and waits 30 s, 1 m, 2 m, 5 m, 15 m", () => {
  const delays = [1, 2, 3, 4, 5].map((attempt) => judge(retry(), { ...first, attempt }, terms, none));
  assert.deepEqual(delays, [30, 60, 120, 300, 900].map((s) => pending(s * second, true)));
});

Deno.test("judge() makes the sixth transient answer the last one", () => {
  const judged = judge(retry(), { ...first, attempt: 6 }, terms, none);
  assert.deepEqual(judged, { status: "failed", code: "exhausted" });
  assert.equal(judge(retry(5), { ...first, attempt: 6 }, terms, none).status, "failed");
});

Deno.test("judge() lets a longer named wait win over the schedule, up to six hours", () => {
  assert.deepEqual(judge(retry(second), first, terms, none), pending(30 * second, true));
  assert.deepEqual(judge(retry(hour), first, terms, none), pending(hour, true));
  assert.deepEqual(judge(retry(24 * hour), first, terms, none), pending(6 * hour, true));
  assert.deepEqual(judge(wait("throttled", 24 * hour), first, terms, none), pending(6 * hour, false));
});

Deno.test("judge() spends no attempt on a throttled call and doubles its waits from 5 s to 15 m", () => {
  const waits = [undefined, 5, 10, 600, 900].map((last) => {
    const before = last === undefined ? {} : { lastDelayMs: last * second, lastCause: "throttled" };
    return judge(wait("throttled"), { ...first, ...before }, terms, none);
  });
  assert.deepEqual(waits, [5, 10, 20, 900, 900].map((s) => pending(s * second, false)));
  assert.deepEqual(judge(wait("throttled", 40 * second), first, terms, none), pending(40 * second, false));
});

Deno.test("judge() begins a growing wait anew when the last one had another cause, or spent an attempt", () => {
  for (const lastCause of ["breaker_open", "unavailable", undefined]) {
    const trial = { ...first, lastDelayMs: 10 * minute, ...(lastCause !== undefined && { lastCause }) };
    assert.deepEqual(judge(wait("throttled"), trial, terms, none), pending(5 * second, false));
  }
  const throttled = { ...first, lastDelayMs: 10 * minute, lastCause: "throttled" };
  assert.deepEqual(judge(wait("unavailable"), throttled, terms, none), pending(30 * second, false));
});

Deno.test("judge() looks again at credentials and configuration in a minute, without an attempt", () => {
  for (const cause of ["credentials", "configuration"] as const) {
    const trial = { ...first, attempt: 6, lastDelayMs: hour };
    assert.deepEqual(judge(wait(cause), trial, terms, none), pending(minute, false));
  }
});

Deno.test("judge() looks again at a sender that may not send in a minute, doubling to 15 m, without an attempt", () => {
  assert.deepEqual(judge(wait("sender"), first, terms, none), pending(minute, false));
  const later = (lastDelayMs: number) => ({ ...first, lastDelayMs, lastCause: "sender" });
  assert.deepEqual(judge(wait("sender"), later(minute), terms, none), pending(2 * minute, false));
  assert.deepEqual(judge(wait("sender"), later(14 * minute), terms, none), pending(15 * minute, false));
});

Deno.test("judge() waits 30 s doubling to 15 m for what is unavailable, without an attempt", () => {
  assert.deepEqual(judge(wait("unavailable"), first, terms, none), pending(30 * second, false));
  const later = judge(
    wait("unavailable"),
    {
      ...first,
      lastDelayMs: 10 * minute,
      lastCause: "unavailable",
    },
    terms,
    none,
  );
  assert.deepEqual(later, pending(15 * minute, false));
});

Deno.test("judge() ends every wait when the message has reached its greatest age", () => {
  for (const cause of ["throttled", "credentials", "configuration", "sender", "unavailable"] as const) {
    const judged = judge(wait(cause, hour), { ...first, ageMs: 72 * hour }, terms, none);
    assert.deepEqual(judged, { status: "failed", code: "expired" });
  }
});

Deno.test("judge() lets a wait end with the message's age, not after it", () => {
  const judged = judge(wait("throttled", hour), { ...first, ageMs: 72 * hour - 10 * second }, terms, none);
  assert.deepEqual(judged, pending(10 * second, false));
});

Deno.test("judge() lets recipients that are judged a little after each other wait together to the end", () => {
  for (const leftMs of [9_000.25, 9_999.5, 10 * second]) {
    const judged = judge(wait("throttled", hour), { ...first, ageMs: 72 * hour - leftMs }, terms, none);
    assert.deepEqual(judged, pending(10 * second, false), String(leftMs));
  }
});

Deno.test("judge() does not end transient answers by age: they have attempts", () => {
  assert.equal(judge(retry(), { ...first, ageMs: 100 * hour }, terms, none).status, "pending");
});

Deno.test("judge() sends again what may have been sent, or holds it, as the provider's owner wants", () => {
  const unknown: RecipientOutcome = { kind: "unknown", fault };
  assert.deepEqual(judge(unknown, first, terms, none), pending(30 * second, true));
  assert.deepEqual(judge(unknown, { ...first, attempt: 6 }, terms, none), {
    status: "failed",
    code: "exhausted",
  });
  assert.deepEqual(judge(unknown, { ...first, unknown: "hold" }, terms, none), { status: "unknown" });
});

Deno.test("judge() adds up to a fifth to a delay and never takes from it", () => {
  assert.deepEqual(judge(retry(), first, terms, () => 0.999_999), pending(36 * second, true));
  for (let n = 0; n < 100; n++) {
    const judged = judge(retry(), first, terms);
    assert.ok(judged.status === "pending" && judged.delayMs >= 30 * second && judged.delayMs <= 36 * second);
  }
});

Deno.test("postpone() spends nothing and waits as long as the obstacle stands, else a minute", () => {
  const obstacles: readonly Obstacle[] = [
    "breaker_open",
    "paused",
    "suspended",
    "no_provider",
    "needs_attention",
  ];
  for (const obstacle of obstacles) {
    assert.deepEqual(postpone(obstacle, first, terms, undefined, none), pending(minute, false));
    assert.deepEqual(postpone(obstacle, first, terms, 20 * second, none), pending(20 * second, false));
    assert.deepEqual(postpone(obstacle, first, terms, 1, none), pending(second, false));
  }
});

Deno.test("postpone() waits 30 s for a body store that is down, however often", () => {
  const waits = [undefined, 30, 60, 800].map((last) =>
    postpone(
      "store_down",
      { ageMs: 0, ...(last !== undefined && { lastDelayMs: last * second }) },
      terms,
      undefined,
      none,
    )
  );
  assert.deepEqual(waits, waits.map(() => pending(30 * second, false)));
});

Deno.test("postpone() ends when the message has reached its greatest age", () => {
  const judged = postpone("suspended", { ageMs: 72 * hour }, terms, undefined, none);
  assert.deepEqual(judged, { status: "failed", code: "expired" });
});
