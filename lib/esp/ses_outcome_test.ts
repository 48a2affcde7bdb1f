import assert from "node:assert/strict";
import fc from "fast-check";
import type { HttpAnswer } from "./http.ts";
import { isRecipientFault, outcomeOfSes, remedyOf, sesErrorType, sesMessageId } from "./ses_outcome.ts";

const hearing = { now: new Date(0), secrets: [] };

function answer(status: number, json: unknown, headers: Record<string, string> = {}): HttpAnswer {
  const text = JSON.stringify(json) ?? "";
  return { kind: "answered", status, headers: new Headers(headers), text, isComplete: true, json };
}

Deno.test("sesMessageId() takes an id from status 200 alone, with or without the domain of the Message-ID field", () => {
  const id = "0102018f-aaaa-bbbb-000000";
  assert.equal(sesMessageId(answer(200, { MessageId: id })), id);
  assert.equal(sesMessageId(answer(200, { MessageId: `<${id}@eu-west-1.amazonses.com>` })), id);
  assert.equal(sesMessageId(answer(202, { MessageId: id })), undefined);
  for (const bad of ["", "a b", 7, null, undefined, "x".repeat(201)]) {
    assert.equal(sesMessageId(answer(200, { MessageId: bad })), undefined);
  }
  assert.equal(sesMessageId(answer(200, [id])), undefined);
});

Deno.test("sesErrorType() reads header and body, without namespace and address", () => {
  const url = "http://internal.amazon.com/coral/";
  assert.equal(sesErrorType(answer(400, {}, { "x-amzn-errortype": `FooException:${url}` })), "FooException");
  assert.equal(sesErrorType(answer(400, { __type: "com.amazonaws.ses#FooException" })), "FooException");
  assert.equal(sesErrorType(answer(400, { code: "FooException" })), "FooException");
  assert.equal(sesErrorType(answer(400, { __type: 7 })), undefined);
  assert.equal(sesErrorType(answer(400, "<html>")), undefined);
});

Deno.test("outcomeOfSes() accepts by the documented answer alone, and refuses for good only what SES names", () => {
  fc.assert(fc.property(
    fc.integer({ min: 200, max: 599 }),
    fc.jsonValue(),
    fc.dictionary(fc.constantFrom("x-amzn-errortype", "retry-after"), fc.string({ unit: "grapheme-ascii" })),
    (status, json, headers) => {
      const outcome = outcomeOfSes(answer(status, json, trimmed(headers)), hearing);
      assert.notEqual(outcome.kind, "accepted");
      if (status >= 500) assert.notEqual(outcome.kind, "refused");
      if (status === 400 && sesErrorType(answer(status, json, trimmed(headers))) === undefined) {
        assert.notEqual(outcome.kind, "refused");
      }
      if (status < 300) assert.equal(outcome.kind, "unknown");
    },
  ));
});

function trimmed(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, value.trim()]));
}

Deno.test("isRecipientFault() is for addresses, not for the account nor for the message", () => {
  const says = (message: string, type = "BadRequestException") => answer(400, { __type: type, message });
  for (
    const words of [
      "Domain contains illegal character",
      "Missing final '@domain'",
      "Local address contains control or whitespace",
      "Illegal address",
      "Missing local name",
    ]
  ) assert.equal(isRecipientFault(says(words)), true, words);
  for (const words of ["Duplicate header 'Subject'.", "Email address is not verified", "Invalid tag", ""]) {
    assert.equal(isRecipientFault(says(words)), false, words);
  }
  assert.equal(isRecipientFault(says("Illegal address", "MessageRejected")), false);
  assert.equal(isRecipientFault({ kind: "no_answer", code: "timeout", detail: "" }), false);
});

Deno.test("remedyOf() knows what other credentials or another time may cure", () => {
  const says = (type: string, message = "", status = 403) =>
    remedyOf(answer(status, { __type: type, message }));
  assert.equal(says("ExpiredTokenException"), "credentials");
  assert.equal(says("UnrecognizedClientException"), "credentials");
  assert.equal(says("InvalidSignatureException", "Signature expired: 1 is now earlier than 2"), "clock");
  assert.equal(says("SignatureDoesNotMatch", "Signature not yet current: 1"), "clock");
  assert.equal(says("InvalidSignatureException", "does not match"), undefined);
  assert.equal(says("AccessDeniedException"), undefined);
  assert.equal(says("ExpiredTokenException", "", 500), undefined);
});

Deno.test("outcomeOfSes() reads nothing about the account out of an address", () => {
  const outcome = outcomeOfSes(
    answer(400, { __type: "BadRequestException", message: "Illegal address 'paused@suspended.example'" }),
    hearing,
  );
  assert.equal(outcome.kind, "refused");
});

Deno.test("outcomeOfSes() blames an identity that the keys may not send by, and not the whole account", () => {
  const denied = (resource: string, type = "AccessDeniedException") => {
    const message =
      "User `arn:aws:iam::123456789012:user/mail' is not authorized to perform `ses:SendEmail' on " +
      `resource \`${resource}'`;
    const outcome = outcomeOfSes(answer(403, { message }, { "x-amzn-errortype": type }), hearing);
    return outcome.kind === "wait" ? outcome.cause : assert.fail(outcome.kind);
  };
  assert.equal(denied("arn:aws:ses:eu-west-1:123456789012:identity/example.com"), "sender");
  assert.equal(denied("arn:aws-us-gov:ses:us-gov-west-1:123456789012:identity/a@example.com"), "sender");
  assert.equal(denied("arn:aws:ses:eu-west-1:123456789012:identity/example.com", "AccessDenied"), "sender");
  assert.equal(denied("arn:aws:ses:eu-west-1:123456789012:configuration-set/main"), "credentials");
  assert.equal(denied("*"), "credentials");
  assert.equal(denied("arn:aws:ses:eu-west-1:1:identity/example.com", "InvalidClientTokenId"), "credentials");
});
