import assert from "node:assert/strict";
import { Refusal, type RefusalCode } from "../../lib/refusal.ts";
import { CommandError, parseMail, parseRcpt } from "./commands.ts";
import type { ProtocolReply } from "./replies.ts";

function mail(line: string) {
  return parseMail(new TextEncoder().encode(line));
}

function rcpt(line: string, smtpUtf8 = false) {
  return parseRcpt(new TextEncoder().encode(line), smtpUtf8);
}

function throwsReply(work: () => unknown, reply: ProtocolReply): void {
  assert.throws(work, (error) => error instanceof CommandError && error.reply === reply);
}

function throwsCode(work: () => unknown, code: RefusalCode): void {
  assert.throws(work, (error) => error instanceof Refusal && error.code === code);
}

Deno.test("parseMail() reads the sender and every parameter we know", () => {
  const line = "MAIL FROM:<a@Example.COM> SIZE=123 BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=x+2Dy AUTH=<>";
  throwsReply(() => mail(line.replace("AUTH=<>", "AUTH")), "arguments_invalid");
  const { sender, ...rest } = mail(line);
  assert.equal(sender?.address, "a@example.com");
  assert.deepEqual(rest, {
    size: 123,
    eightBit: true,
    smtpUtf8: true,
    dsnReturn: "HDRS",
    envelopeId: "x+2Dy",
  });
});

Deno.test("parseMail() takes the null sender, blanks after the colon and lower case", () => {
  assert.deepEqual(mail("MAIL FROM:<>"), { sender: undefined, eightBit: false, smtpUtf8: false });
  assert.equal(mail("mail from: <a@example.com>").sender?.address, "a@example.com");
});

Deno.test("parseMail() refuses broken syntax, unknown, repeated and malformed parameters", () => {
  for (
    const line of [
      "MAIL",
      "MAIL FROM",
      "MAIL FROM:a@b.c",
      "MAIL TO:<a@b.c>",
      "MAIL FROM:<a@b.c",
      "MAIL FROM:<<a@b.c>",
    ]
  ) {
    throwsReply(() => mail(line), "arguments_invalid");
  }
  for (
    const end of [
      "SIZE=x",
      "SIZE",
      "SIZE=1 SIZE=1",
      "BODY=BINARYMIME",
      "RET=ALL",
      "ENVID=a=b",
      "ENVID=+zz",
      "SMTPUTF8=1",
    ]
  ) {
    throwsReply(() => mail(`MAIL FROM:<a@example.com> ${end}`), "arguments_invalid");
  }
  throwsReply(() => mail("MAIL FROM:<a@example.com> MT-PRIORITY=3"), "parameter_unknown");
  throwsReply(() => mail("MAIL FROM:<a@example.com>SIZE=1"), "arguments_invalid");
  throwsReply(
    () => parseMail(Uint8Array.of(...new TextEncoder().encode("MAIL FROM:<"), 0xff, 0x3e)),
    "arguments_invalid",
  );
});

Deno.test("parseMail() refuses what is no address, and non-ASCII without SMTPUTF8", () => {
  for (const path of ["a", "@b.c", "a@", "a b@c.d", "a@b@c.d e", ".a@b.c", "a@-b.c", "a@[1.2.3]"]) {
    throwsCode(() => mail(`MAIL FROM:<${path}>`), "sender_address_invalid");
  }
  throwsCode(() => mail("MAIL FROM:<ä@example.com>"), "smtputf8_required");
  throwsCode(() => mail("MAIL FROM:<a@ä.example>"), "smtputf8_required");
  assert.equal(mail("MAIL FROM:<ä@bücher.example> SMTPUTF8").sender?.address, "ä@xn--bcher-kva.example");
});

Deno.test("parseRcpt() takes quoted local parts, strips source routes and keeps plus addresses", () => {
  assert.equal(rcpt('RCPT TO:<"a b"@example.com>').address, '"a b"@example.com');
  assert.equal(rcpt('RCPT TO:<"a> b"@example.com>').address, '"a> b"@example.com');
  assert.equal(rcpt("RCPT TO:<@x.test,@y.test:a@example.com>").address, "a@example.com");
  assert.equal(rcpt("RCPT TO:<a+tag@example.com>").address, "a+tag@example.com");
  assert.equal(rcpt("RCPT TO:<a@[192.0.2.1]>").address, "a@[192.0.2.1]");
  assert.equal(rcpt("RCPT TO:<a@[IPv6:2001:DB8::1]>").address, "a@[IPv6:2001:db8::1]");
});

Deno.test("parseRcpt() reads and validates NOTIFY and ORCPT", () => {
  assert.deepEqual(rcpt("RCPT TO:<a@example.com> NOTIFY=success,Failure ORCPT=rfc822;b+2Bc@example.com"), {
    address: "a@example.com",
    notify: "SUCCESS,FAILURE",
    originalRecipient: "rfc822;b+2Bc@example.com",
  });
  for (
    const end of [
      "NOTIFY=",
      "NOTIFY",
      "NOTIFY=NEVER,DELAY",
      "NOTIFY=SOMETIMES",
      "NOTIFY=DELAY,DELAY",
      "ORCPT=x",
      "ORCPT=rfc822;",
    ]
  ) {
    throwsReply(() => rcpt(`RCPT TO:<a@example.com> ${end}`), "arguments_invalid");
  }
  throwsReply(() => rcpt("RCPT TO:<a@example.com> SIZE=3"), "parameter_unknown");
  throwsReply(() => rcpt("RCPT TO:<a@example.com> ORCPT=utf-8;ä@example.com"), "arguments_invalid");
  assert.equal(
    rcpt("RCPT TO:<a@example.com> ORCPT=utf-8;ä@example.com", true).originalRecipient,
    "utf-8;ä@example.com",
  );
});

Deno.test("parseRcpt() refuses what is no address", () => {
  throwsCode(() => rcpt("RCPT TO:<>"), "recipient_address_invalid");
  throwsCode(() => rcpt("RCPT TO:<postmaster>"), "recipient_address_invalid");
  throwsCode(() => rcpt("RCPT TO:<ü@example.com>"), "smtputf8_required");
});
