import assert from "node:assert/strict";
import { mailDate, missingFields, type Passage, receivedField } from "./received.ts";

const passage: Passage = {
  id: "0199",
  by: "mx.test",
  helo: "client.test",
  address: "::ffff:192.0.2.1",
  saidEhlo: true,
  smtpUtf8: false,
  tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
  recipients: ["a@example.com"],
  at: new Date("2026-01-02T03:04:05.678Z"),
};

Deno.test("receivedField() tells all of the passage, in lines of less than 78 characters", () => {
  const field = receivedField(passage, "full");
  assert.equal(
    field,
    "Received: from client.test ([192.0.2.1])\r\n\t(using TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n" +
      "\tby mx.test with ESMTPSA id 0199\r\n\tfor <a@example.com>;\r\n\tFri, 02 Jan 2026 03:04:05 +0000\r\n",
  );
});

Deno.test("receivedField() in brief gives nothing of the client away", () => {
  const field = receivedField(passage, "brief");
  assert.equal(field, "Received: by mx.test with ESMTPSA id 0199;\r\n\tFri, 02 Jan 2026 03:04:05 +0000\r\n");
});

Deno.test("receivedField() names no recipient when there are several", () => {
  assert.doesNotMatch(receivedField({ ...passage, recipients: ["a@x.test", "b@x.test"] }, "full"), /for </);
});

Deno.test("receivedField() lets no nonsense of the client through", () => {
  for (const helo of ["a b", "<script>", "x\r\nBcc: y", "(", "x".repeat(300), "", "ä"]) {
    const field = receivedField({ ...passage, helo }, "full");
    assert.match(field, /^Received: from [\x21-\x7e]+ \(\[192\.0\.2\.1\]\)\r\n/, helo);
    assert.equal(field.split("\r\n").length, 6);
  }
  assert.match(receivedField({ ...passage, address: "2001:db8::1" }, "full"), /\(\[IPv6:2001:db8::1\]\)/);
});

Deno.test("receivedField() names the protocol as RFC 3848 and RFC 6531 do", () => {
  const { tls: _, ...plain } = passage;
  assert.match(receivedField(plain, "full"), / with ESMTPA /);
  assert.match(receivedField({ ...passage, smtpUtf8: true }, "full"), / with UTF8SMTPSA /);
  assert.match(receivedField({ ...passage, saidEhlo: false }, "full"), / with SMTP /);
});

Deno.test("missingFields() adds what is missing and nothing else", () => {
  assert.equal(missingFields({ date: true, messageId: true }, passage), "");
  assert.equal(missingFields({ date: false, messageId: true }, passage), `Date: ${mailDate(passage.at)}\r\n`);
  assert.equal(missingFields({ date: true, messageId: false }, passage), "Message-ID: <0199@mx.test>\r\n");
});
