import assert from "node:assert/strict";
import fc from "fast-check";
import { SmtpFailure } from "../smtp/failure.ts";
import type { Reply } from "../smtp/reply.ts";
import type { TransactionResult } from "../smtp/transaction.ts";
import {
  answerOf,
  isTooManyRecipients,
  outcomeOfFailure,
  outcomeOfReply,
  outcomesOf,
  providerMessageId,
} from "./smtp_outcome.ts";

const replies: readonly (readonly [Parameters<typeof outcomeOfReply>[1], string, string])[] = [
  ["mail", "451 4.3.0 trouble", "retry provider"],
  ["mail", "421 4.7.0 Rate limit exceeded", "wait throttled"],
  ["mail", "450 4.7.1 Too many messages", "wait throttled"],
  ["mail", "451 Maximum credits exceeded", "wait throttled"],
  ["mail", "530 5.7.0 Authentication required", "wait credentials"],
  ["mail", "535 5.7.8 wrong", "wait credentials"],
  ["mail", "550 5.7.1 sender not allowed", "refused message"],
  ["mail", "550 5.7.60 may not send as this sender", "wait sender"],
  ["mail", "553 5.1.8 sender domain", "wait sender"],
  ["mail", "501 5.1.7 bad address", "refused message"],
  ["mail", "552 5.3.4 too large", "refused message"],
  ["mail", "550 no", "refused message"],
  ["rcpt", "450 4.2.0 busy", "retry message"],
  ["rcpt", "450 4.2.1 receiving mail at a rate", "retry message"],
  ["rcpt", "451 4.3.0 trouble", "retry provider"],
  ["rcpt", "451 4.7.1 throttled", "wait throttled"],
  ["rcpt", "550 5.1.1 unknown", "refused message"],
  ["rcpt", "550 5.7.1 blocked", "refused message"],
  ["rcpt", "554 5.7.1 <x>: Relay access denied", "refused message"],
  ["rcpt", "552 5.2.2 mailbox full", "retry message"],
  ["data", "451 4.3.0 trouble", "retry provider"],
  ["data", "554 5.5.1 no", "refused message"],
  ["answer", "552 5.3.4 too large", "refused message"],
  ["answer", "550 5.7.1 spam", "refused message"],
  ["answer", "554 Message rejected: Email address is not verified", "wait sender"],
  ["answer", "550 5.7.60 may not send as this sender", "wait sender"],
  ["answer", "452 4.3.1 no room", "retry provider"],
  ["answer", "354 what", "retry provider"],
];

Deno.test("outcomeOfReply() classifies every answer at its place in the conversation", () => {
  for (const [stage, text, wanted] of replies) {
    assert.equal(inWords(outcomeOfReply(reply(text), stage)), wanted, `${stage}: ${text}`);
  }
});

Deno.test("outcomeOfReply() takes over a wait that the server names", () => {
  const wait = (text: string) => {
    const outcome = outcomeOfReply(reply(text), "rcpt");
    return "afterMs" in outcome ? outcome.afterMs : undefined;
  };
  assert.equal(wait("450 4.7.1 Greylisted, try again in 300 seconds"), 300_000);
  assert.equal(wait("450 4.2.0 retry after 5 minutes"), 300_000);
  assert.equal(wait("450 4.2.0 wait 99999h"), 24 * 3_600_000);
  assert.equal(wait("450 4.2.0 later"), undefined);
});

Deno.test("outcomeOfFailure() blames whoever must change something", () => {
  const wanted = {
    connect_failed: "retry provider",
    connect_timeout: "retry provider",
    dns_failed: "retry provider",
    timeout: "retry provider",
    connection_lost: "retry provider",
    tls_failed: "retry provider",
    greeting_refused: "retry provider",
    certificate_invalid: "wait configuration",
    tls_unavailable: "wait configuration",
    auth_unavailable: "wait configuration",
    address_not_allowed: "wait configuration",
    auth_refused: "wait credentials",
    connections_busy: "wait throttled",
    aborted: "wait unavailable",
    body_unreadable: "wait unavailable",
    bare_line_ending: "refused message",
    address_invalid: "refused message",
  } as const;
  for (const [code, outcome] of Object.entries(wanted)) {
    assert.equal(inWords(outcomeOfFailure(new SmtpFailure(code as keyof typeof wanted, "x"))), outcome, code);
  }
  const later = new SmtpFailure("auth_refused", "x", reply("454 4.7.0 Temporary authentication failure"));
  assert.equal(inWords(outcomeOfFailure(later)), "retry provider");
  const throttled = new SmtpFailure("auth_refused", "x", reply("454 Throttling failure: Too many logins"));
  assert.equal(inWords(outcomeOfFailure(throttled)), "wait throttled");
});

Deno.test("isTooManyRecipients() knows the answer by either code or text", () => {
  assert.equal(isTooManyRecipients(reply("452 4.5.3 enough")), true);
  assert.equal(isTooManyRecipients(reply("452 Too many recipients")), true);
  assert.equal(isTooManyRecipients(reply("452 4.3.1 no room")), false);
});

Deno.test("outcomesOf() gives each recipient one outcome, accepted only with a positive answer to the message", () => {
  const code = fc.constantFrom("250 2.1.5 ok", "251 2.1.5 forwards", "451 4.2.0 later", "550 5.1.1 unknown");
  const end = fc.constantFrom<Partial<TransactionResult>>(
    { answer: reply("250 2.0.0 ok"), isDotWritten: true },
    { answer: reply("451 4.3.0 later"), isDotWritten: true },
    { answer: reply("554 5.6.0 never"), isDotWritten: true },
    { failure: new SmtpFailure("connection_lost", "gone"), isDotWritten: true },
    { failure: new SmtpFailure("connection_lost", "gone"), isDotWritten: false },
  );
  fc.assert(fc.property(fc.array(code, { minLength: 1 }), end, (codes, how) => {
    const recipients = codes.map(reply);
    const result = { mail: reply("250 2.1.0 ok"), recipients, isDotWritten: false, ...how };
    const outcomes = outcomesOf(result);
    assert.equal(outcomes.length, codes.length);
    for (const [index, outcome] of outcomes.entries()) {
      const isTaken = codes[index]?.startsWith("25") === true;
      assert.equal(outcome.kind === "accepted", isTaken && how.answer?.code === 250);
      assert.equal(
        outcome.kind === "unknown",
        isTaken && how.answer === undefined && how.isDotWritten === true,
      );
      if (!isTaken) assert.equal(outcome.kind, codes[index]?.startsWith("4") ? "retry" : "refused");
    }
  }));
});

Deno.test("answerOf() shows the most telling answer, providerMessageId() the next server's name for the mail", () => {
  const result = {
    mail: reply("250 2.1.0 ok"),
    recipients: [reply("250 2.1.5 ok"), reply("550 5.1.1 unknown")],
    failure: new SmtpFailure("connection_lost", "gone"),
    isDotWritten: true,
  };
  assert.deepEqual(answerOf(result), { code: 550, espCode: "5.1.1", excerpt: "550 5.1.1 unknown" });
  assert.equal(answerOf({ ...result, recipients: [reply("250 2.1.5 ok"), undefined] }), undefined);
  assert.equal(providerMessageId(reply("250 2.0.0 Ok: queued as 4XyZ")), "4XyZ");
  assert.equal(providerMessageId(reply("250 Ok 010001934f2c-aa-000000")), "010001934f2c-aa-000000");
  assert.equal(
    providerMessageId(reply("250 2.6.0 <a@b> [InternalId=7] Queued mail")),
    "<a@b> [InternalId=7] Queued mail",
  );
});

function reply(text: string): Reply {
  const [, code = "", enhanced, rest = ""] = /^(\d{3}) (?:(\d\.\d+\.\d+) )?(.*)$/.exec(text) ?? [];
  return { code: Number(code), ...(enhanced === undefined ? {} : { enhanced }), lines: [rest] };
}

function inWords(outcome: ReturnType<typeof outcomeOfReply>): string {
  if (outcome.kind === "accepted") return "accepted";
  return outcome.kind === "wait" ? `wait ${outcome.cause}` : `${outcome.kind} ${outcome.fault.blame}`;
}
