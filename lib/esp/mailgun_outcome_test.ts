import assert from "node:assert/strict";
import fc from "fast-check";
import type { HttpAnswer } from "./http.ts";
import { isRecipientFault, mailgunId, outcomeOfMailgun } from "./mailgun_outcome.ts";

const now = new Date("2026-11-23T00:00:00Z");

function answer(status: number, json: unknown, headers: Record<string, string> = {}): HttpAnswer {
  return {
    kind: "answered",
    status,
    headers: new Headers(headers),
    text: JSON.stringify(json) ?? "",
    isComplete: true,
    json,
  };
}

Deno.test("mailgunId() is the id without its brackets, and none of what is no id", () => {
  assert.equal(mailgunId(answer(200, { id: "<1@x>" })), "1@x");
  assert.equal(mailgunId(answer(200, { id: "1@x" })), "1@x");
  for (const id of ["", "<>", "a b", "<a><b>", 7, null, {}]) {
    assert.equal(mailgunId(answer(200, { id })), undefined);
  }
  assert.equal(mailgunId(answer(201, { id: "<1@x>" })), undefined);
});

Deno.test("outcomeOfMailgun() reads the wait in every form that Mailgun names it", () => {
  const wait = (message: string, headers = {}) => {
    const outcome = outcomeOfMailgun(answer(429, { message }, headers), now, []);
    return outcome.kind === "wait" ? outcome.afterMs : assert.fail(outcome.kind);
  };
  assert.equal(wait("limit exceeded, try again after 120 seconds"), 120_000);
  assert.equal(wait("limit exceeded, try again after 2 minutes"), 120_000);
  assert.equal(wait("limit exceeded, try again after Mon, 23 Nov 2026 00:01:30 UTC"), 90_000);
  assert.equal(wait("limit exceeded, try again after Sun, 22 Nov 2026 23:00:00 UTC"), undefined);
  assert.equal(wait("limit exceeded, try again after 5 seconds", { "retry-after": "8" }), 8000);
  assert.equal(wait("limit exceeded"), undefined);
  assert.equal(wait("limit exceeded", { "x-ratelimit-reset": "30" }), 30_000);
});

Deno.test("outcomeOfMailgun() accepts status 200 with an id alone, and has an outcome for the rest", () => {
  fc.assert(
    fc.property(fc.integer({ min: 100, max: 599 }), fc.jsonValue(), fc.string(), (status, json, message) => {
      for (const body of [json, { message }, { id: "<1@x>", message }]) {
        const outcome = outcomeOfMailgun(answer(status, body), now, ["secret"]);
        const isAccepted = status === 200 && mailgunId(answer(status, body)) !== undefined;
        assert.equal(outcome.kind === "accepted", isAccepted);
        if (status >= 500) assert.notEqual(outcome.kind, "refused");
      }
    }),
  );
});

Deno.test("outcomeOfMailgun() reads nothing about the account out of an address", () => {
  const outcome = outcomeOfMailgun(
    answer(400, { message: "'suspended@sandbox.example' is no address" }),
    now,
    [],
  );
  assert.equal(outcome.kind, "refused");
});

Deno.test("outcomeOfMailgun() lets a recipient wait whom a sandbox does not know, and not the whole account", () => {
  const domain = "Domain sandbox12.mailgun.org is not allowed to send";
  const asked =
    "Free accounts are for test purposes only. Please upgrade or add the address to your authorized recipients";
  const causeOf = (status: number, message: string) => {
    const outcome = outcomeOfMailgun(answer(status, { message }), now, []);
    return outcome.kind === "wait" ? outcome.cause : assert.fail(outcome.kind);
  };
  for (const status of [400, 403]) {
    for (
      const words of [
        `${domain}: ${asked}`,
        "Sandbox subdomains are for test purposes only. Please add " +
        "your own domain or add the address to authorized recipients in Account Settings.",
      ]
    ) {
      assert.equal(causeOf(status, words), "sender", words);
      assert.equal(isRecipientFault(answer(status, { message: words })), true, words);
    }
    assert.equal(causeOf(status, `${domain}: not activated`), "configuration");
    assert.equal(isRecipientFault(answer(status, { message: `${domain}: not activated` })), false);
  }
});
