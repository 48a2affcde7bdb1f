import assert from "node:assert/strict";
import type { HttpAnswer } from "./http.ts";
import {
  answerOf,
  excerptLimit,
  excerptOf,
  namedWaitMs,
  outcomeOfFailure,
  outcomeOfStatus,
} from "./http_outcome.ts";
import type { RecipientOutcome } from "./outcome.ts";

const now = new Date("2026-03-01T12:00:00Z");
const hearing = { now, secrets: ["SG.secret"] };

function answer(status: number, text = "", headers: Record<string, string> = {}): HttpAnswer {
  return { kind: "answered", status, headers: new Headers(headers), text, isComplete: true };
}

function words(outcome: RecipientOutcome): string {
  if (outcome.kind === "accepted") return outcome.kind;
  const cause = outcome.kind === "wait" ? ` ${outcome.cause}` : "";
  return `${outcome.kind}${cause} ${outcome.fault.blame} ${outcome.fault.code}`;
}

Deno.test("outcomeOfStatus() gives every status one meaning", () => {
  const cases: readonly (readonly [number, string])[] = [
    [200, "unknown provider answer_unexpected"],
    [202, "unknown provider answer_unexpected"],
    [301, "wait configuration provider http_301"],
    [307, "wait configuration provider http_307"],
    [400, "refused message http_400"],
    [401, "wait credentials provider http_401"],
    [403, "wait credentials provider http_403"],
    [404, "wait configuration provider http_404"],
    [405, "wait configuration provider http_405"],
    [408, "retry provider http_408"],
    [413, "refused message http_413"],
    [422, "refused message http_422"],
    [429, "wait throttled provider http_429"],
    [500, "retry provider http_500"],
    [502, "retry provider http_502"],
    [503, "retry provider http_503"],
    [504, "retry provider http_504"],
    [599, "retry provider http_599"],
  ];
  for (const [status, expected] of cases) {
    assert.equal(words(outcomeOfStatus(answer(status), hearing)), expected);
  }
});

Deno.test("outcomeOfStatus() takes 503 with a named wait for throttling", () => {
  const outcome = outcomeOfStatus(answer(503, "busy", { "retry-after": "7" }), hearing);
  assert.deepEqual(outcome, {
    kind: "wait",
    cause: "throttled",
    fault: { blame: "provider", code: "http_503", detail: "busy" },
    afterMs: 7000,
  });
});

Deno.test("outcomeOfStatus() hands on the wait that the service names", () => {
  const throttled = outcomeOfStatus(answer(429, "slow down", { "retry-after": "30" }), hearing);
  assert.equal(throttled.kind === "wait" && throttled.afterMs, 30_000);
  const failed = outcomeOfStatus(answer(500, "", { "retry-after": "5" }), hearing);
  assert.equal(failed.kind === "retry" && failed.afterMs, 5000);
});

Deno.test("outcomeOfFailure() tries again what was not sent and knows nothing of the rest", () => {
  const of = (kind: "not_sent" | "no_answer", code: Parameters<typeof outcomeOfFailure>[0]["code"]) =>
    words(outcomeOfFailure({ kind, code, detail: "why" }));
  assert.equal(of("not_sent", "connection_failed"), "retry provider connection_failed");
  assert.equal(of("not_sent", "tls_failed"), "retry provider tls_failed");
  assert.equal(of("not_sent", "aborted"), "wait unavailable message aborted");
  assert.equal(of("not_sent", "request_invalid"), "wait configuration provider request_invalid");
  assert.equal(of("no_answer", "timeout"), "unknown provider timeout");
  assert.equal(of("no_answer", "aborted"), "unknown provider aborted");
});

Deno.test("namedWaitMs() reads every form in which a wait is named", () => {
  const cases: readonly (readonly [Record<string, string>, number | undefined])[] = [
    [{}, undefined],
    [{ "retry-after": "120" }, 120_000],
    [{ "retry-after": " 2 " }, 2000],
    [{ "retry-after": "1.5" }, 1500],
    [{ "retry-after": "0" }, undefined],
    [{ "retry-after": "-5" }, undefined],
    [{ "retry-after": "soon" }, undefined],
    [{ "retry-after": "99999999999" }, undefined],
    [{ "retry-after": "9999999999" }, 6 * 3600_000],
    [{ "retry-after": "Sun, 01 Mar 2026 12:01:00 GMT" }, 60_000],
    [{ "retry-after": "Sunday, 01-Mar-26 12:01:00 GMT" }, 60_000],
    [{ "retry-after": "Sun, 01 Mar 2026 11:00:00 GMT" }, undefined],
    [{ "retry-after": "Sun, 01 Mar 2026 12:01:00 GMT", date: "Sun, 01 Mar 2026 12:00:50 GMT" }, 10_000],
    [{ "retry-after": "Sun, 01 Mar 2026 12:01:00 GMT", date: "nonsense" }, 60_000],
    [{ "retry-after-ms": "250" }, 250],
    [{ "x-ms-retry-after-ms": "1250" }, 1250],
    [{ "x-ratelimit-reset": String(now.getTime() / 1000 + 42) }, 42_000],
    [{ "x-ratelimit-reset": String(now.getTime() + 42_000) }, 42_000],
    [{ "x-ratelimit-reset": "42" }, 42_000],
    [{ "x-ratelimit-reset": String(now.getTime() / 1000 - 42) }, undefined],
    [{ "ratelimit-reset": "3" }, 3000],
    [{ "retry-after": "7", "x-ratelimit-reset": "42" }, 7000],
    [{ "retry-after": "soon", "x-ratelimit-reset": "42" }, 42_000],
  ];
  for (const [headers, expected] of cases) {
    assert.equal(namedWaitMs(new Headers(headers), now), expected, JSON.stringify(headers));
  }
});

Deno.test("excerptOf() masks secrets in every spelling and keeps to one bounded line", () => {
  const key = 'key+"1/2"';
  const text = `a ${key} b ${encodeURIComponent(key)} c ${btoa(key)} d ${JSON.stringify(key)}`;
  assert.equal(excerptOf(text, [key, ""]), 'a [secret] b [secret] c [secret] d "[secret]"');
  assert.equal(excerptOf(" a\r\n\tb\u0000\u001b[31m\u2028c ", []), "a b [31m c");
  assert.equal(excerptOf("x".repeat(10_000), []).length, excerptLimit);
  assert.ok(excerptOf("😀".repeat(1000), []).isWellFormed());
});

Deno.test("answerOf() keeps code, the service's own code, request id and an excerpt", () => {
  const given = answer(400, "bad SG.secret", { "x-request-id": "r-1" });
  assert.deepEqual(answerOf(given, hearing.secrets, "BadRequest"), {
    code: 400,
    espCode: "BadRequest",
    requestId: "r-1",
    excerpt: "bad [secret]",
  });
  assert.deepEqual(answerOf(answer(202), []), { code: 202, excerpt: "" });
});
