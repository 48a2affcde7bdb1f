import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mailgun } from "../../lib/esp/mailgun.ts";
import { AddressNotAllowed } from "../../lib/network/guard.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { remoteEspContract } from "../contracts/esp_contract.ts";
import { awkwardMails } from "../support/awkward_mails.ts";
import { FakeMailgun } from "../support/fake_mailgun.ts";
import { type FaultRow, networkFaults, testFaults } from "../support/esp_faults.ts";
import { deliverInWords, inWords, openEsp, parcelOf, plainMail, streamedBody } from "../support/parcels.ts";

const { signal } = new AbortController();

function settingsOf(fake: FakeMailgun, changes: Record<string, unknown> = {}) {
  return { api_key: fake.key, domain: fake.domain, endpoint: fake.http.origin, ...changes };
}

remoteEspContract("mailgun", async () => {
  const fake = await FakeMailgun.open();
  let isBroken = false;
  return {
    open: (changes) =>
      openEsp(mailgun, settingsOf(fake, isBroken ? { endpoint: "http://127.0.0.1:9" } : {}), changes),
    received: () => fake.mails.map(({ mime }) => mime.toString()).join(""),
    breakDown: () => {
      isBroken = true;
      return fake.http.close();
    },
    [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
  };
});

Deno.test("mailgun: gives awkward messages on byte for byte, with the envelope and nobody else", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, settingsOf(fake));
  for (const { what, to, bytes } of awkwardMails()) {
    const before = fake.mails.length;
    const report = await esp.deliver(parcelOf(to, memoryBody(bytes)), signal);
    assert.deepEqual([...report.recipients.values()].map(inWords), to.map(() => "accepted"), what);
    const sent = fake.mails[before];
    assert.deepEqual(sent?.to, to, what);
    assert.ok(sent?.mime.equals(bytes), what);
    assert.equal(fake.mails.length, before + 1, what);
  }
});

Deno.test("mailgun: takes blind fields, control fields and, where told, signatures out of the header", async () => {
  await using fake = await FakeMailgun.open();
  const added =
    "BCC: secret@example.org\r\nX-Mailgun-Drop-Message: yes\r\nX-MC-Tags: t\r\nDKIM-Signature: v=1;\r\n b=x\r\n";
  const cases = [
    [{}, "DKIM-Signature: v=1;\r\n b=x\r\n"],
    [{ strip_dkim: true }, ""],
    [{ pass_control_headers: true }, added.slice(added.indexOf("X-Mailgun"))],
  ] as const;
  for (const [changes, left] of cases) {
    await using esp = openEsp(mailgun, settingsOf(fake, changes));
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], added + plainMail)), ["accepted"]);
    assert.equal(fake.mails.at(-1)?.mime.toString(), left + plainMail);
  }
});

Deno.test("mailgun: tells Mailgun our ids, which recipients do not see, and knows its own without brackets", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, settingsOf(fake));
  const parcel = parcelOf(["b@example.org"], `Message-ID: <abc@example.com>\r\n${plainMail}`);
  const report = await esp.deliver(parcel, signal);
  assert.equal(report.providerMessageId, "abc@example.com");
  assert.equal(report.answer?.code, 200);
  assert.deepEqual(Object.fromEntries(fake.mails[0]?.options ?? []), {
    "v:message-id": parcel.message.id,
    "v:call-id": parcel.call,
    "o:suppress-headers": "X-Mailgun-Variables",
  });
});

Deno.test("mailgun: an address it does not take is found, and all others get their mail once", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, settingsOf(fake));
  const to = Array.from({ length: 100 }, (_, index) => `r${index}@example.org`);
  fake.badAddresses.add("r17@example.org").add("r93@example.org");
  const words = await deliverInWords(esp, parcelOf(to));
  assert.deepEqual(
    words,
    to.map((address) => fake.badAddresses.has(address) ? "refused message http_400" : "accepted"),
  );
  const sent = fake.mails.flatMap((mail) => mail.to);
  assert.deepEqual(sent.sort(), to.filter((address) => !fake.badAddresses.has(address)).sort());
});

Deno.test("mailgun: calls the endpoint only after it was found allowed, each time", async () => {
  await using fake = await FakeMailgun.open();
  const asked: string[] = [];
  const guardEndpoint = (url: URL) => {
    asked.push(url.origin);
    return Promise.reject(new AddressNotAllowed("127.0.0.1 is not public"));
  };
  await using esp = openEsp(mailgun, settingsOf(fake), { guardEndpoint });
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [
    "wait configuration provider request_invalid",
  ]);
  assert.equal((await esp.check(signal)).faults.length, 1);
  assert.deepEqual(asked, [fake.http.origin, fake.http.origin]);
  assert.equal(fake.http.connections, 0);
});

const json = (status: number, message: string, headers = {}) => ({
  reply: { status, headers, body: { message } },
});
const html = "<html><body>Bad Gateway</body></html>";

/** What goes wrong, what becomes of the recipient, whether the mail was taken, and the wait in seconds. */
const faults: readonly FaultRow[] = [
  [
    json(400, "from parameter is not a valid address. please check documentation"),
    "refused message http_400",
  ],
  [json(400, "Need at least one of 'text' or 'html' parameters specified"), "refused message http_400"],
  [
    json(400, "Domain mg.example.com is not allowed to send: Free accounts are for test purposes only."),
    "wait configuration provider http_400",
  ],
  [
    json(400, "Domain x is not allowed to send: Please activate your Mailgun account."),
    "wait configuration provider http_400",
  ],
  [
    json(
      400,
      "Sandbox subdomains are for test purposes only. Please add the address to authorized recipients",
    ),
    "wait sender provider http_400",
  ],
  [{ reply: { status: 401, body: "Forbidden" } }, "wait credentials provider http_401"],
  [json(402, "Request failed"), "wait configuration provider http_402"],
  [json(403, "The domain is unverified and can't send"), "wait configuration provider http_403"],
  [json(403, "You are not allowed to send large batches yet"), "wait throttled provider http_403"],
  [json(403, "IP 192.0.2.1 can't be used to send"), "wait configuration provider http_403"],
  [json(403, "Access denied"), "wait credentials provider http_403"],
  [json(404, "Domain not found: mg.example.com"), "wait configuration provider http_404"],
  [json(405, "Method not allowed"), "wait configuration provider http_405"],
  [{ reply: { status: 413, body: html } }, "refused message message_too_large"],
  [
    json(429, "Recipient limit exceeded, try again after 120 seconds"),
    "wait throttled provider http_429",
    "not sent",
    120,
  ],
  [
    json(429, "request limit exceeded, try again after Mon, 23 Nov 2026 00:10:00 UTC", {
      Date: "Mon, 23 Nov 2026 00:00:00 GMT",
    }),
    "wait throttled provider http_429",
    "not sent",
    600,
  ],
  [json(429, "too many requests", { "Retry-After": "7" }), "wait throttled provider http_429", "not sent", 7],
  [
    json(429, "try again after 120 seconds", { "Retry-After": "9" }),
    "wait throttled provider http_429",
    "not sent",
    9,
  ],
  [json(429, "account-requests-per-sec"), "wait throttled provider http_429"],
  [
    json(429, "limit exceeded, try again after 999999 hours"),
    "wait throttled provider http_429",
    "not sent",
    6 * 3600,
  ],
  [{ reply: { status: 500, body: html } }, "retry provider http_500"],
  [{ reply: { status: 502, body: html } }, "retry provider http_502"],
  [{ reply: { status: 503, body: "" } }, "retry provider http_503"],
  [
    { reply: { status: 503, headers: { "Retry-After": "30" } } },
    "wait throttled provider http_503",
    "not sent",
    30,
  ],
  [{ reply: { status: 504, body: html } }, "retry provider http_504"],
  [
    { reply: { status: 302, headers: { Location: "http://169.254.169.254/" } } },
    "wait configuration provider http_302",
  ],
  [
    { reply: { status: 307, headers: { Location: "/v3/elsewhere" } } },
    "wait configuration provider http_307",
  ],
  [{ reply: { status: 200, body: "Mailgun Magnificent API" } }, "wait configuration provider http_200"],
  [{ reply: { status: 200, body: {} }, served: true }, "unknown provider answer_unexpected", "sent"],
  [{ reply: { status: 200, body: { id: "" } }, served: true }, "unknown provider answer_unexpected", "sent"],
  [{ reply: { status: 200, body: { id: 7, message: "Queued" } } }, "unknown provider answer_unexpected"],
  [
    { reply: { status: 202, body: { id: "<a@b>", message: "Queued" } }, served: true },
    "unknown provider answer_unexpected",
    "sent",
  ],
  [{ reply: { status: 200, body: '{"id":"<a@b>"' } }, "unknown provider answer_unexpected"],
  [{ answered: "close", bytes: 120 }, "unknown provider answer_unexpected", "sent"],
];

testFaults("mailgun", [...faults, ...networkFaults], {
  open: () => FakeMailgun.open(),
  http: (fake) => fake.http,
  sent: (fake) => fake.mails.length,
  openEsp: (fake, times) => openEsp(mailgun, settingsOf(fake), times),
});

Deno.test("mailgun: a message above 25 MB is named in the limits, and refused by Mailgun all the same", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, settingsOf(fake));
  assert.equal(esp.limits.bytes, 25 * 1024 * 1024);
  assert.equal(esp.limits.recipients, 1000);
  const mail = Buffer.concat([Buffer.from("Subject: x\r\n\r\n"), Buffer.alloc(26 * 1024 * 1024, "x\r\n")]);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail))), [
    "refused message message_too_large",
  ]);
});

Deno.test("mailgun: mail from an address that needs SMTPUTF8 is refused, one with an umlaut in its domain is not", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, settingsOf(fake));
  const from = (address: string) =>
    deliverInWords(esp, parcelOf(["b@example.org"], `From: ${address}\r\n\r\nHi\r\n`));
  assert.deepEqual(await from("jörg@example.com"), ["refused message smtputf8_unsupported"]);
  assert.deepEqual(await from("Jörg <joerg@exämple.com>"), ["accepted"]);
  assert.equal(fake.mails.length, 1);
});

Deno.test("mailgun: check() tells the domain's state, and proves a key that may only send", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, settingsOf(fake));
  assert.deepEqual(await esp.check(signal), { faults: [], domains: ["mg.example.com"] });
  fake.state = "unverified";
  const { faults: [fault] } = await esp.check(signal);
  assert.equal(fault?.code, "domain_not_active");
  fake.isSendingKey = true;
  assert.deepEqual(await esp.check(signal), { faults: [] });
  assert.equal(fake.mails.length, 0);
  await using wrong = openEsp(mailgun, settingsOf(fake, { api_key: "wrong" }));
  assert.deepEqual((await wrong.check(signal)).faults.map(({ code }) => code), ["http_401"]);
  await using elsewhere = openEsp(mailgun, settingsOf(fake, { domain: "other.example.com" }));
  assert.deepEqual((await elsewhere.check(signal)).faults.map(({ code }) => code), ["http_404"]);
});

Deno.test("mailgun: its key appears in no report, however it comes back", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, settingsOf(fake));
  const basic = Buffer.from(`api:${fake.key}`).toString("base64");
  fake.http.fail({ reply: { status: 401, body: `${fake.key} Basic ${basic}` } });
  const report = await esp.deliver(parcelOf(["b@example.org"]), signal);
  const text = JSON.stringify([report.answer, ...report.recipients.values()]);
  assert.doesNotMatch(text, new RegExp(`${fake.key}|${basic}`));
  assert.match(text, /\[secret\]/);
});

Deno.test("mailgun: settings want a key and a domain and refuse what is unknown", () => {
  const good = { "api_key": "k", domain: "MG.Example.com" };
  assert.deepEqual(mailgun.settings.parse(good), { api_key: "k", domain: "mg.example.com", region: "us" });
  for (
    const bad of [
      { ...good, domain: "a/b" },
      { ...good, domain: "" },
      { ...good, api_key: "a b" },
      { ...good, region: "asia" },
      { ...good, endpoint: "ftp://x" },
      { ...good, extra: 1 },
      { domain: "mg.example.com" },
    ]
  ) assert.equal(mailgun.settings.safeParse(bad).success, false, JSON.stringify(bad));
  assert.deepEqual(mailgun.secretKeys, ["webhook", "api_key"]);
});
