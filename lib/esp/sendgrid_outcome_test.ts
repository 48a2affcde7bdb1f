import assert from "node:assert/strict";
import type { HttpAnswer } from "./http.ts";
import { errorsOf, outcomeOfSendgrid, sendgridId } from "./sendgrid_outcome.ts";

const hearing = { now: new Date(0), secrets: ["SG.secret"] };

function answer(status: number, json?: unknown, headers: Record<string, string> = {}): HttpAnswer {
  return {
    kind: "answered",
    status,
    headers: new Headers(headers),
    text: json === undefined ? "" : JSON.stringify(json),
    isComplete: true,
    json,
  };
}

function says(status: number, message: string): HttpAnswer {
  return answer(status, { errors: [{ message, field: null, help: null }] });
}

Deno.test("sendgridId() is the id of a 202 and of nothing else", () => {
  assert.equal(
    sendgridId(answer(202, undefined, { "x-message-id": "14c5d75ce93.dfd.64b469" })),
    "14c5d75ce93.dfd.64b469",
  );
  assert.equal(sendgridId(answer(200, undefined, { "x-message-id": "a" })), undefined);
  assert.equal(sendgridId(answer(202)), undefined);
  assert.equal(sendgridId(answer(202, undefined, { "x-message-id": "a b" })), undefined);
  assert.equal(sendgridId({ kind: "no_answer", code: "timeout", detail: "" }), undefined);
});

Deno.test("outcomeOfSendgrid() takes words before statuses where SendGrid means something else", () => {
  const kinds = (one: HttpAnswer) => {
    const outcome = outcomeOfSendgrid(one, hearing);
    return outcome.kind === "wait" ? outcome.cause : outcome.kind;
  };
  assert.equal(kinds(says(401, "Maximum credits exceeded")), "throttled");
  assert.equal(kinds(says(403, "You have exceeded your messaging limits")), "throttled");
  assert.equal(kinds(says(401, "Permission denied, wrong credentials")), "credentials");
  assert.equal(
    kinds(says(403, "The from address does not match a verified Sender Identity")),
    "sender",
  );
  assert.equal(kinds(says(400, "The provided authorization grant is invalid")), "credentials");
  assert.equal(kinds(says(400, "The subject is required")), "refused");
  assert.equal(kinds(says(400, "authorization@example.org is no valid address")), "refused");
  assert.equal(kinds(says(500, "Maximum credits exceeded")), "retry");
  assert.equal(kinds(says(200, "Maximum credits exceeded")), "unknown");
  assert.equal(kinds(answer(202, undefined, { "x-message-id": "a" })), "accepted");
});

Deno.test("outcomeOfSendgrid() tells what was said, in SendGrid's own words and without secrets", () => {
  const outcome = outcomeOfSendgrid(
    answer(400, { errors: [{ message: "a SG.secret" }, { message: "b" }] }),
    hearing,
  );
  assert.deepEqual(outcome, {
    kind: "refused",
    fault: { blame: "message", code: "http_400", detail: "a [secret]; b" },
  });
});

Deno.test("errorsOf() reads errors and nothing else", () => {
  assert.deepEqual(errorsOf(answer(400, { errors: [{ message: "m", field: "f", help: null }] })), [
    { message: "m", field: "f" },
  ]);
  for (const json of [undefined, null, [], {}, { errors: "x" }, { errors: [1] }]) {
    assert.deepEqual(errorsOf(answer(400, json)), []);
  }
});
