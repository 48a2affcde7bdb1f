import assert from "node:assert/strict";
import { sendgrid } from "../../lib/esp/sendgrid.ts";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import { type FaultRow, testFaults } from "../support/esp_faults.ts";
import type { HttpFault } from "../support/faulty_http.ts";
import { deliverInWords, openEsp, parcelOf, streamedBody } from "../support/parcels.ts";

const { signal } = new AbortController();
const date = "Mon, 23 Nov 2026 00:00:00 GMT";
const seconds = Date.parse(date) / 1000;
const html = "<html><head><title>503 Service Unavailable</title></head></html>";

function says(status: number, message: string, field: string | null = null, headers = {}): HttpFault {
  return { reply: { status, headers: { Date: date, ...headers }, body: { errors: [{ message, field }] } } };
}

function slowDown(headers: Readonly<Record<string, string>>): HttpFault {
  return says(429, "too many requests", null, headers);
}

/** What goes wrong, what becomes of the recipient, whether the mail was taken, and the wait in seconds. */
const faults: readonly FaultRow[] = [
  [says(400, "The subject is required", "subject"), "refused message http_400"],
  [says(400, "Invalid type. Expected: string, given: null.", "content.0.value"), "refused message http_400"],
  [
    says(400, "The from email does not contain a valid address.", "from.email"),
    "refused message http_400",
  ],
  [
    says(400, "Does not contain a valid address.", "personalizations.0.to.0.email"),
    "refused message http_400",
  ],
  [
    says(400, "Does not contain a valid address.", "personalizations.7.to.99.email"),
    "refused message http_400",
  ],
  [{ reply: { status: 400, body: html } }, "retry provider http_400"],
  [{ reply: { status: 422, body: { error: "other" } } }, "retry provider http_422"],
  [
    says(401, "The provided authorization grant is invalid, expired, or revoked"),
    "wait credentials provider http_401",
  ],
  [says(401, "Maximum credits exceeded"), "wait throttled provider http_401", "not sent", 900],
  [{ reply: { status: 401, body: "" } }, "wait credentials provider http_401"],
  [says(403, "You have exceeded your messaging limits"), "wait throttled provider http_403", "not sent", 900],
  [
    says(
      403,
      "The from address does not match a verified Sender Identity. Mail cannot be sent until this error is resolved.",
      "from",
    ),
    "wait sender provider http_403",
  ],
  [says(403, "access forbidden"), "wait credentials provider http_403"],
  [says(404, "not found"), "wait configuration provider http_404"],
  [says(405, "method not allowed"), "wait configuration provider http_405"],
  [says(406, "Invalid Accept"), "refused message http_406"],
  [says(408, "timeout"), "retry provider http_408"],
  [
    { reply: { status: 413, body: "<html>413 Request Entity Too Large</html>" } },
    "refused message message_too_large",
  ],
  [says(415, "Invalid UTF8 in request"), "refused message http_415"],
  [says(429, "too many requests"), "wait throttled provider http_429"],
  [slowDown({ "Retry-After": "7" }), "wait throttled provider http_429", "not sent", 7],
  [
    slowDown({ "Retry-After": "Mon, 23 Nov 2026 00:02:00 GMT" }),
    "wait throttled provider http_429",
    "not sent",
    120,
  ],
  [slowDown({ "Retry-After": "-3" }), "wait throttled provider http_429"],
  [slowDown({ "Retry-After": "tomorrow" }), "wait throttled provider http_429"],
  [slowDown({ "Retry-After": "86400000" }), "wait throttled provider http_429", "not sent", 6 * 3600],
  [
    slowDown({ "X-RateLimit-Reset": String(seconds + 30) }),
    "wait throttled provider http_429",
    "not sent",
    30,
  ],
  [slowDown({ "X-RateLimit-Reset": "12" }), "wait throttled provider http_429", "not sent", 12],
  [slowDown({ "X-RateLimit-Reset": String(seconds - 30) }), "wait throttled provider http_429"],
  [
    slowDown({ "Retry-After": "5", "X-RateLimit-Reset": String(seconds + 30) }),
    "wait throttled provider http_429",
    "not sent",
    5,
  ],
  [says(451, "Mail for this user is processed in another region"), "wait configuration provider http_451"],
  [{ reply: { status: 500, body: "" } }, "retry provider http_500"],
  [{ reply: { status: 502, body: html } }, "retry provider http_502"],
  [{ reply: { status: 503, body: html } }, "retry provider http_503"],
  [
    { reply: { status: 503, headers: { "Retry-After": "30" }, body: html } },
    "wait throttled provider http_503",
    "not sent",
    30,
  ],
  [{ reply: { status: 504, body: html } }, "retry provider http_504"],
  [
    { reply: { status: 301, headers: { Location: "http://169.254.169.254/latest/" } } },
    "wait configuration provider http_301",
  ],
  [
    { reply: { status: 307, headers: { Location: "/v3/mail/send" } } },
    "wait configuration provider http_307",
  ],
  [{ reply: { status: 200, body: "" }, served: true }, "unknown provider answer_unexpected", "sent"],
  [
    { reply: { status: 200, headers: { "X-Message-Id": "abc" } }, served: true },
    "unknown provider answer_unexpected",
    "sent",
  ],
  [{ reply: { status: 202 }, served: true }, "unknown provider answer_unexpected", "sent"],
  [
    { reply: { status: 202, headers: { "X-Message-Id": "" } }, served: true },
    "unknown provider answer_unexpected",
    "sent",
  ],
  [
    { reply: { status: 202, headers: { "X-Message-Id": "<script>" } }, served: true },
    "unknown provider answer_unexpected",
    "sent",
  ],
  [{ reply: { status: 204, headers: { "X-Message-Id": "abc" } } }, "unknown provider answer_unexpected"],
  [
    { reply: { status: 200, body: "<html>Log in to the hotel's network</html>" } },
    "unknown provider answer_unexpected",
  ],
  [{ answered: "close", bytes: 0 }, "unknown provider connection_lost", "sent"],
  [{ answered: "reset", bytes: 15 }, "unknown provider connection_lost", "sent"],
  [{ answered: "hang", bytes: 15 }, "unknown provider timeout", "sent"],
  [{ read: "reset", served: true }, "unknown provider connection_lost", "sent"],
  [{ read: "reset" }, "unknown provider connection_lost"],
  [{ read: "close", served: true }, "unknown provider connection_lost", "sent"],
  [{ read: "hang", served: true }, "unknown provider timeout", "sent"],
  [{ header: "reset" }, "unknown provider connection_lost"],
  [{ header: "close" }, "unknown provider connection_lost"],
  [{ header: "hang" }, "unknown provider timeout"],
  [{ unread: "close" }, "unknown provider connection_lost"],
  [{ unread: "hang" }, "unknown provider timeout"],
  [{ raw: "220 mail.example ESMTP\r\n" }, "unknown provider protocol_error"],
  [
    { raw: "HTTP/1.1 202 Accepted\r\nX-Message-Id: abc\r\nContent-Length: 50\r\n\r\ncut", served: true },
    "accepted",
    "sent",
  ],
  [
    { raw: 'HTTP/1.1 500 Oops\r\nContent-Length: 50\r\n\r\n{"errors":[{"mess' },
    "retry provider http_500",
  ],
  [{ pieces: 4, everyMs: 5 }, "accepted", "sent"],
];

testFaults("sendgrid", faults, {
  open: () => FakeSendgrid.open(),
  http: (fake) => fake.http,
  sent: (fake) => fake.mails.length,
  openEsp: (fake, times) => openEsp(sendgrid, { "api_key": fake.key, endpoint: fake.http.origin }, times),
});

Deno.test("sendgrid: a connection that dies after many good calls sends nothing twice", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = openEsp(sendgrid, { "api_key": fake.key, endpoint: fake.http.origin });
  for (let round = 0; round < 5; round++) {
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
    fake.http.fail({ read: "close", served: true });
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [
      "unknown provider connection_lost",
    ]);
  }
  assert.equal(fake.mails.length, 10);
});

Deno.test("sendgrid: a message that is too large is refused with the reason", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = openEsp(sendgrid, { "api_key": fake.key, endpoint: fake.http.origin });
  const mail = new TextEncoder().encode(
    `From: a@example.com\r\n\r\n${"a line of text\r\n".repeat(2_000_000)}`,
  );
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail))), [
    "refused message message_too_large",
  ]);
});

Deno.test("sendgrid: its key appears in no report, however it comes back", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = openEsp(sendgrid, { "api_key": fake.key, endpoint: fake.http.origin });
  for (const status of [400, 401, 500]) {
    fake.http.fail(says(status, `The key ${fake.key} is wrong`, fake.key, { "X-Request-Id": fake.key }));
    const report = await esp.deliver(parcelOf(["b@example.org"]), signal);
    const text = JSON.stringify([report.answer, ...report.recipients.values()]);
    assert.ok(!text.includes(fake.key), text);
    assert.match(text, /\[secret\]/);
    assert.equal(report.answer?.code, status);
  }
});
