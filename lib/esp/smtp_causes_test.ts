import assert from "node:assert/strict";
import type { Reply } from "../smtp/reply.ts";
import { type Stage, waitCauseOf } from "./smtp_causes.ts";
import { outcomeOfReply } from "./smtp_outcome.ts";

/** What services are documented or known to answer by SMTP when sender, account or its limits are in the way. */
const services: readonly (readonly [string, Stage, string, string])[] = [
  [
    "SES",
    "answer",
    "554 Message rejected: Email address is not verified. The following identities failed the check in region EU-WEST-1: a@example.com",
    "sender",
  ],
  ["SES", "answer", "454 Throttling failure: Maximum sending rate exceeded.", "throttled"],
  ["SES", "answer", "454 Throttling failure: Daily message quota exceeded.", "throttled"],
  ["SES", "mail", "530 Authentication required", "credentials"],
  [
    "SES",
    "answer",
    "554 Access denied: User `arn:aws:iam::123456789012:user/x` is not authorized to perform `ses:SendRawEmail` on resource `arn:aws:ses:eu-west-1:123456789012:identity/example.com'",
    "sender",
  ],
  [
    "SES",
    "answer",
    "554 Sending paused for this account. Please check the inbox of the email address associated with your AWS account",
    "configuration",
  ],
  ["SES", "answer", "554 Transaction failed: Address contains illegal characters", "refused"],
  ["SES", "answer", "552 5.3.4 Message is too long.", "refused"],
  [
    "SendGrid",
    "answer",
    "550 The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.",
    "sender",
  ],
  ["SendGrid", "mail", "403 You are not authorized to send from that email address", "sender"],
  ["SendGrid", "mail", "550 Unauthenticated senders not allowed", "credentials"],
  ["SendGrid", "auth", "451 Authentication failed: Maximum credits exceeded", "throttled"],
  ["SendGrid", "mail", "451 You have exceeded your messaging limits", "throttled"],
  ["SendGrid", "rcpt", "452 Too many recipients received this hour", "throttled"],
  ["SendGrid", "rcpt", "550 Requested action not taken: mailbox unavailable", "refused"],
  [
    "Mailgun",
    "data",
    "554 Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings.",
    "sender",
  ],
  [
    "Mailgun",
    "data",
    "421 Domain sandbox1.mailgun.org is not allowed to send: Sandbox subdomains are for test purposes only. Please add your own domain or add the address to authorized recipients in Account Settings.",
    "sender",
  ],
  [
    "Mailgun",
    "data",
    "421 Domain mg.example.com is not allowed to send: Please activate your Mailgun account. Check your inbox",
    "configuration",
  ],
  [
    "Mailgun",
    "data",
    "550 Domain mg.example.com is not allowed to send: The domain is unverified and requires DNS configuration.",
    "configuration",
  ],
  [
    "Exchange Online",
    "answer",
    "550 5.7.60 SMTP; Client does not have permissions to send as this sender",
    "sender",
  ],
  [
    "Exchange Online",
    "answer",
    "554 5.2.252 SendAsDenied; a@example.com not allowed to send as b@example.com",
    "sender",
  ],
  [
    "Exchange Online",
    "answer",
    "554 5.2.0 STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception",
    "sender",
  ],
  [
    "Exchange Online",
    "answer",
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
    "throttled",
  ],
  [
    "Exchange Online",
    "answer",
    "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients",
    "throttled",
  ],
  [
    "Exchange Online",
    "mail",
    "530 5.7.57 SMTP; Client was not authenticated to send anonymous mail during MAIL FROM",
    "credentials",
  ],
  ["Exchange Online", "mail", "550 5.1.8 Access denied, bad outbound sender", "sender"],
  ["Exchange Online", "mail", "432 4.3.2 Concurrent connections limit exceeded", "throttled"],
  ["Exchange Online", "answer", "550 5.7.705 Access denied, tenant has exceeded threshold", "configuration"],
  [
    "Gmail",
    "answer",
    "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to",
    "throttled",
  ],
  ["Gmail", "rcpt", "550 5.7.1 Daily SMTP relay sending limit exceeded for customer", "throttled"],
  ["Gmail", "auth", "421 4.7.0 Too many login attempts, please try again later.", "throttled"],
  ["Gmail", "auth", "454 4.7.0 Too many login attempts, please try again later.", "throttled"],
  ["Gmail", "mail", "550 5.7.1 Invalid credentials for relay [192.0.2.1]", "credentials"],
  [
    "Gmail",
    "rcpt",
    "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents delivery",
    "retry",
  ],
  ["Brevo", "mail", "502 5.7.0 Your SMTP account is not yet activated", "configuration"],
  ["Brevo", "mail", "525 5.7.1 Unauthorized IP address", "configuration"],
  ["SparkPost", "answer", "550 5.7.1 Unconfigured Sending Domain <example.com>", "sender"],
  [
    "Postfix",
    "rcpt",
    "553 5.7.1 <a@example.com>: Sender address rejected: not owned by user relay",
    "sender",
  ],
];

/** What sounds alike and is about one recipient or one message. */
const others: readonly (readonly [Stage, string, string])[] = [
  ["rcpt", "550 5.1.1 <daily-limit@example.net>: Recipient address rejected: User unknown", "refused"],
  ["rcpt", "550 5.2.1 The email account that you tried to reach is disabled", "refused"],
  ["rcpt", "550 5.7.1 Your account at this host is disabled, says the mailbox of <x@example.net>", "refused"],
  ["rcpt", "554 5.7.1 Domain example.net is not verified for relaying", "refused"],
  ["rcpt", "452 4.5.3 Too many recipients", "retry"],
  ["rcpt", "552 5.2.2 Daily message quota of this mailbox exceeded", "retry"],
  [
    "answer",
    "550 5.7.23 The message was rejected because 192.0.2.1 is not allowed to send mail from example.com",
    "refused",
  ],
  ["answer", "554 5.7.1 Message content rejected: not-verified@example.com", "refused"],
  [
    "answer",
    "550 5.7.1 Unauthenticated email from example.com is not accepted due to its DMARC policy",
    "refused",
  ],
];

Deno.test("waitCauseOf() knows from what services answer whom the mail waits for", () => {
  for (const [service, stage, text, wanted] of services) {
    assert.equal(meaning(text, stage), wanted, `${service}: ${text}`);
  }
});

Deno.test("waitCauseOf() takes nothing for it that is about a recipient or a message", () => {
  for (const [stage, text, wanted] of others) assert.equal(meaning(text, stage), wanted, text);
});

Deno.test("waitCauseOf() blames the provider for all that it names", () => {
  for (const [service, stage, text] of services) {
    if (waitCauseOf(reply(text), stage) === undefined) continue;
    const outcome = outcomeOfReply(reply(text), stage);
    assert.equal(outcome.kind === "wait" && outcome.fault.blame, "provider", `${service}: ${text}`);
  }
});

function meaning(text: string, stage: Stage): string {
  const outcome = outcomeOfReply(reply(text), stage);
  return outcome.kind === "wait" ? outcome.cause : outcome.kind;
}

function reply(text: string): Reply {
  const enhanced = /^\d{3} (\d\.\d{1,3}\.\d{1,3}) /.exec(text)?.[1];
  const line = text.slice(4 + (enhanced === undefined ? 0 : enhanced.length + 1));
  return { code: Number(text.slice(0, 3)), lines: [line], ...(enhanced === undefined ? {} : { enhanced }) };
}
