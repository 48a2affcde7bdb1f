import assert from "node:assert/strict";
import fc from "fast-check";
import type { HttpAnswer } from "./http.ts";
import { graphError, outcomeOfGraph } from "./msgraph_outcome.ts";

const now = new Date("2026-11-23T00:00:00Z");

function answer(status: number, json?: unknown): HttpAnswer {
  const text = json === undefined ? "" : JSON.stringify(json);
  return { kind: "answered", status, headers: new Headers(), text, isComplete: true, json };
}

Deno.test("graphError() names the innermost error that is known", () => {
  const error = (inner: unknown) => ({ error: { code: "BadRequest", message: "Words", ...inner as object } });
  const known = { code: "ErrorSendAsDenied" };
  const cases = [
    [error({}), "BadRequest"],
    [error({ innerError: known }), "ErrorSendAsDenied"],
    [error({ innererror: { code: "unheardOf", innererror: known } }), "ErrorSendAsDenied"],
    [error({ innerError: { code: "unheardOf" } }), "BadRequest"],
    [error({ innerError: "text" }), "BadRequest"],
    [error({ innerError: { code: "constructor" } }), "BadRequest"],
  ] as const;
  for (const [json, code] of cases) assert.equal(graphError(answer(400, json))?.code, code);
  for (const json of [undefined, {}, { error: "text" }, []]) {
    assert.equal(graphError(answer(400, json)), undefined);
  }
});

Deno.test("outcomeOfGraph() accepts the one status alone", () => {
  assert.equal(outcomeOfGraph(answer(202), now, [], 202).kind, "accepted");
  assert.equal(outcomeOfGraph(answer(201, { id: "x" }), now, [], 201).kind, "accepted");
  for (const status of [200, 201, 204]) {
    assert.equal(outcomeOfGraph(answer(status), now, [], 202).kind, "unknown", `${status}`);
  }
});

Deno.test("outcomeOfGraph() has an outcome for whatever is answered", () => {
  const code = fc.oneof(
    fc.string(),
    fc.constantFrom("__proto__", "toString", "ErrorInvalidRecipients", "BadRequest"),
  );
  fc.assert(fc.property(fc.integer({ min: 100, max: 599 }), code, fc.jsonValue(), (status, name, json) => {
    for (const body of [json, { error: { code: name, message: "m", innerError: json } }]) {
      const outcome = outcomeOfGraph(answer(status, body), now, ["secret"], 202);
      assert.equal(outcome.kind === "accepted", status === 202);
      if (status >= 500 && outcome.kind === "refused") assert.match(name, /^Error/);
    }
  }));
});
