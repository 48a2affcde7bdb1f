import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { ses } from "../../lib/esp/ses.ts";
import { AddressNotAllowed } from "../../lib/network/guard.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { remoteEspContract } from "../contracts/esp_contract.ts";
import { awkwardMails } from "../support/awkward_mails.ts";
import { FakeSes } from "../support/fake_ses.ts";
import { type FaultRow, networkFaults, testFaults } from "../support/esp_faults.ts";
import type { HttpFault } from "../support/faulty_http.ts";
import { deliverInWords, inWords, openEsp, parcelOf, plainMail, streamedBody } from "../support/parcels.ts";

const { signal } = new AbortController();

function settingsOf(fake: FakeSes, changes: Record<string, unknown> = {}) {
  const [id = "", key] = [...fake.keys][0] ?? [];
  return {
    region: fake.region,
    access_key_id: id,
    secret_access_key: key?.secret,
    endpoint: fake.http.origin,
    ...changes,
  };
}

remoteEspContract("ses", async () => {
  const fake = await FakeSes.open();
  let isBroken = false;
  return {
    open: (changes) =>
      openEsp(ses, settingsOf(fake, isBroken ? { endpoint: "http://127.0.0.1:9" } : {}), changes),
    received: () => fake.mails.map(({ raw }) => raw.toString()).join(""),
    breakDown: () => {
      isBroken = true;
      return fake.http.close();
    },
    [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
  };
});

Deno.test("ses: gives awkward messages on byte for byte, to the envelope alone, and refuses what SES cannot take", async () => {
  await using fake = await FakeSes.open();
  await using esp = openEsp(ses, settingsOf(fake));
  const impossible = [
    "a header without a body",
    "a header that never ends",
    "two From and three Subject fields",
    "two Content-Types",
  ];
  for (const { what, to, bytes } of awkwardMails()) {
    const before = fake.mails.length;
    const report = await esp.deliver(parcelOf(to, memoryBody(bytes)), signal);
    const isPossible = !impossible.includes(what);
    const words = isPossible ? "accepted" : "refused message http_400";
    assert.deepEqual([...report.recipients.values()].map(inWords), to.map(() => words), what);
    assert.equal(fake.mails.length, before + (isPossible ? 1 : 0), what);
    if (!isPossible) continue;
    const sent = fake.mails[before];
    assert.deepEqual(sent?.to, to, what);
    assert.ok(sent?.raw.equals(bytes), what);
    const hasFrom = /^from:/im.test(bytes.toString("latin1").split("\r\n\r\n")[0] ?? "");
    assert.equal(sent?.from, hasFrom ? undefined : "a@example.com", what);
  }
});

Deno.test("ses: a large message arrives byte for byte, read as a stream", async () => {
  await using fake = await FakeSes.open();
  await using esp = openEsp(ses, settingsOf(fake));
  const size = 5 * 1024 * 1024 + 1;
  const mail = Buffer.concat([
    Buffer.from(`Bcc: x@example.org\r\n${plainMail}`),
    Buffer.alloc(size, "Gr\xfc\xdfe aus dem Archiv\r\n", "latin1"),
  ]);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail))), ["accepted"]);
  assert.ok(fake.mails[0]?.raw.equals(mail.subarray("Bcc: x@example.org\r\n".length)));
});

Deno.test("ses: takes blind fields, control fields and, where told, signatures out of the header", async () => {
  await using fake = await FakeSes.open();
  const added = "BCC: secret@example.org\r\nX-SES-Configuration-Set: theirs\r\nx-ses-message-tags: a=b\r\n" +
    "DKIM-Signature: v=1;\r\n b=x\r\n";
  const cases = [
    [{}, "DKIM-Signature: v=1;\r\n b=x\r\n"],
    [{ strip_dkim: true }, ""],
    [{ pass_control_headers: true }, added.slice(added.indexOf("X-SES"))],
  ] as const;
  for (const [changes, left] of cases) {
    await using esp = openEsp(ses, settingsOf(fake, changes));
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], added + plainMail)), ["accepted"]);
    assert.equal(fake.mails.at(-1)?.raw.toString(), left + plainMail);
  }
});

Deno.test("ses: tells SES our ids and the configuration set, and answers its id", async () => {
  await using fake = await FakeSes.open();
  await using esp = openEsp(ses, settingsOf(fake, { configuration_set: "known" }));
  const parcel = parcelOf(["b@example.org"]);
  const report = await esp.deliver(parcel, signal);
  const [mail] = fake.mails;
  assert.equal(report.providerMessageId, mail?.id);
  assert.equal(report.answer?.code, 200);
  assert.match(report.answer?.requestId ?? "", /^[0-9a-f-]{36}$/);
  assert.equal(mail?.configurationSet, "known");
  assert.deepEqual(mail?.tags, { "message-id": parcel.message.id, "call-id": parcel.call });
  await using lost = openEsp(ses, settingsOf(fake, { configuration_set: "unknown" }));
  const refused = await lost.deliver(parcel, signal);
  assert.deepEqual([...refused.recipients.values()].map(inWords), ["wait configuration provider http_404"]);
  assert.equal(refused.answer?.espCode, "NotFoundException");
});

Deno.test("ses: an address it does not take is found, and all others get their mail once", async () => {
  await using fake = await FakeSes.open();
  await using esp = openEsp(ses, settingsOf(fake));
  const to = Array.from({ length: 50 }, (_, index) => `r${index}@example.org`);
  fake.badAddresses.add("r17@example.org").add("r43@example.org");
  const words = await deliverInWords(esp, parcelOf(to));
  const isBad = (address: string) => fake.badAddresses.has(address);
  assert.deepEqual(words, to.map((address) => isBad(address) ? "refused message http_400" : "accepted"));
  assert.deepEqual(
    fake.mails.flatMap((mail) => mail.to).sort(),
    to.filter((address) => !isBad(address)).sort(),
  );
});

Deno.test("ses: a header that needs SMTPUTF8 is refused before SES is asked", async () => {
  await using fake = await FakeSes.open();
  await using esp = openEsp(ses, settingsOf(fake));
  const mail = "From: j\u00f6rg@example.com\r\nTo: b@example.org\r\n\r\nHi\r\n";
  const parcel = parcelOf(["b@example.org"], memoryBody(Buffer.from(mail)), { smtpUtf8: true });
  assert.deepEqual(await deliverInWords(esp, parcel), ["refused message smtputf8_unsupported"]);
  assert.equal(esp.smtpUtf8, false);
  assert.equal(fake.http.requests.length, 0);
});

Deno.test("ses: calls the endpoint only after it was found allowed, each time", async () => {
  await using fake = await FakeSes.open();
  let asked = 0;
  const guardEndpoint = () => {
    asked++;
    return Promise.reject(new AddressNotAllowed("127.0.0.1 is not public"));
  };
  await using esp = openEsp(ses, settingsOf(fake), { guardEndpoint });
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [
    "wait configuration provider request_invalid",
  ]);
  assert.equal((await esp.check(signal)).faults.length, 1);
  assert.equal(asked, 2);
  assert.equal(fake.http.connections, 0);
});

const says = (status: number, type: string, message: string, headers = {}): HttpFault => ({
  reply: { status, headers: { "x-amzn-ErrorType": `${type}:http://x/`, ...headers }, body: { message } },
});
const html = "<html><body>Bad Gateway</body></html>";

/** What goes wrong, what becomes of the recipient, whether the mail was taken, and the wait in seconds. */
const faults: readonly FaultRow[] = [
  [says(400, "BadRequestException", "Duplicate header 'Subject'."), "refused message http_400"],
  [says(400, "BadRequestException", "Missing final '@domain'"), "refused message http_400"],
  [
    says(400, "BadRequestException", "Configuration set <x> does not exist"),
    "wait configuration provider http_400",
  ],
  [says(400, "MessageRejected", "Transaction blocked: content refused"), "refused message http_400"],
  [
    says(400, "MessageRejected", "Email address is not verified. The following identities failed the check"),
    "wait sender provider http_400",
  ],
  [says(400, "MessageRejected", "Sending paused for this account."), "wait configuration provider http_400"],
  [says(400, "MailFromDomainNotVerifiedException", "MX not found"), "wait sender provider http_400"],
  [says(400, "AccountSuspendedException", "suspended"), "wait configuration provider http_400"],
  [says(400, "SendingPausedException", "paused"), "wait configuration provider http_400"],
  [says(400, "LimitExceededException", "too many"), "wait throttled provider http_400"],
  [says(400, "ThrottlingException", "Rate exceeded"), "wait throttled provider http_400"],
  [
    says(429, "TooManyRequestsException", "Maximum sending rate exceeded."),
    "wait throttled provider http_429",
  ],
  [
    says(429, "TooManyRequestsException", "Daily message quota exceeded."),
    "wait throttled provider http_429",
    "not sent",
    600,
  ],
  [
    says(429, "TooManyRequestsException", "Daily message quota exceeded.", { "Retry-After": "17" }),
    "wait throttled provider http_429",
    "not sent",
    17,
  ],
  [{ reply: { status: 429, body: html } }, "wait throttled provider http_429"],
  [
    says(404, "NotFoundException", "Configuration set does not exist"),
    "wait configuration provider http_404",
  ],
  [
    says(403, "AccessDeniedException", "not authorized to perform ses:SendRawEmail"),
    "wait credentials provider http_403",
  ],
  [says(403, "InvalidSignatureException", "does not match"), "wait credentials provider http_403"],
  [says(403, "SignatureDoesNotMatch", "does not match"), "wait credentials provider http_403"],
  [says(403, "UnrecognizedClientException", "invalid token"), "wait credentials provider http_403"],
  [says(403, "InvalidClientTokenId", "invalid token"), "wait credentials provider http_403"],
  [says(403, "MissingAuthenticationTokenException", "missing"), "wait credentials provider http_403"],
  [says(403, "ExpiredTokenException", "expired"), "wait credentials provider http_403"],
  [
    says(403, "InvalidSignatureException", "Signature expired: now earlier"),
    "wait credentials provider http_403",
  ],
  [{ reply: { status: 403, body: html } }, "wait credentials provider http_403"],
  [
    {
      reply: { status: 400, body: { __type: "com.amazonaws.ses#SendingPausedException", message: "paused" } },
    },
    "wait configuration provider http_400",
  ],
  [{ reply: { status: 400, body: html } }, "retry provider http_400"],
  [{ reply: { status: 401, body: "" } }, "wait credentials provider http_401"],
  [{ reply: { status: 407, body: "" } }, "wait configuration provider http_407"],
  [says(409, "ConflictException", "conflict"), "retry provider http_409"],
  [{ reply: { status: 413, body: html } }, "refused message message_too_large"],
  [says(500, "InternalServiceErrorException", "oops"), "retry provider http_500"],
  [says(500, "ConcurrentModificationException", "oops"), "retry provider http_500"],
  [{ reply: { status: 502, body: html } }, "retry provider http_502"],
  [says(503, "ServiceUnavailable", "busy"), "retry provider http_503"],
  [
    { reply: { status: 503, headers: { "Retry-After": "30" } } },
    "wait throttled provider http_503",
    "not sent",
    30,
  ],
  [{ reply: { status: 504, body: html } }, "retry provider http_504"],
  [
    { reply: { status: 301, headers: { Location: "http://169.254.169.254/" } } },
    "wait configuration provider http_301",
  ],
  [{ reply: { status: 307, headers: { Location: "/elsewhere" } } }, "wait configuration provider http_307"],
  [{ reply: { status: 200, body: {} }, served: true }, "unknown provider answer_unexpected", "sent"],
  [
    { reply: { status: 200, body: { MessageId: "" } }, served: true },
    "unknown provider answer_unexpected",
    "sent",
  ],
  [{ reply: { status: 200, body: { MessageId: 7 } } }, "unknown provider answer_unexpected"],
  [{ reply: { status: 200, body: html } }, "unknown provider answer_unexpected"],
  [
    { reply: { status: 202, body: { MessageId: "0102-1" } }, served: true },
    "unknown provider answer_unexpected",
    "sent",
  ],
  [{ answered: "close", bytes: 190 }, "unknown provider answer_unexpected", "sent"],
  [{ answered: "hang", bytes: 190 }, "unknown provider answer_unexpected", "sent"],
];

testFaults("ses", [...faults, ...networkFaults], {
  open: () => FakeSes.open(),
  http: (fake) => fake.http,
  sent: (fake) => fake.mails.length,
  openEsp: (fake, times) => openEsp(ses, settingsOf(fake), times),
});

Deno.test("ses: a message above 40 MB is named in the limits, and refused by SES all the same", async () => {
  await using fake = await FakeSes.open();
  await using esp = openEsp(ses, settingsOf(fake));
  assert.deepEqual([esp.limits.bytes, esp.limits.recipients, esp.memoryPerByte], [40 * 1024 * 1024, 50, 4]);
  const mail = Buffer.concat([
    Buffer.from("From: a@example.com\r\n\r\n"),
    Buffer.alloc(41 * 1024 * 1024, "x\r\n"),
  ]);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail))), [
    "refused message message_too_large",
  ]);
});

Deno.test("ses: a clock that is wrong by hours is put right by the service's, once and for all calls", async () => {
  for (const aheadMs of [7_200_000, -7_200_000, 86_400_000]) {
    await using fake = await FakeSes.open();
    await using esp = openEsp(ses, settingsOf(fake));
    fake.aheadMs = aheadMs;
    for (let call = 1; call <= 2; call++) {
      assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
    }
    assert.equal(fake.mails.length, 2);
    assert.equal(fake.http.requests.length, 3, "only the first call was made twice");
  }
});

Deno.test("ses: check() tells verified domains, a paused account, and proves keys that may only send", async () => {
  await using fake = await FakeSes.open();
  await using esp = openEsp(ses, settingsOf(fake));
  fake.identities.push(
    {
      IdentityType: "DOMAIN",
      IdentityName: "Example.com",
      SendingEnabled: true,
      VerificationStatus: "SUCCESS",
    },
    {
      IdentityType: "DOMAIN",
      IdentityName: "pending.example",
      SendingEnabled: false,
      VerificationStatus: "PENDING",
    },
    {
      IdentityType: "EMAIL_ADDRESS",
      IdentityName: "a@b.example",
      SendingEnabled: true,
      VerificationStatus: "SUCCESS",
    },
    { IdentityType: "DOMAIN", IdentityName: "b\u00fccher.example", SendingEnabled: true },
    {
      IdentityType: "DOMAIN",
      IdentityName: "failed.example",
      SendingEnabled: true,
      VerificationStatus: "FAILED",
    },
  );
  assert.deepEqual(await esp.check(signal), {
    faults: [],
    domains: ["example.com", "xn--bcher-kva.example"],
  });
  fake.isSendingEnabled = false;
  assert.deepEqual((await esp.check(signal)).faults.map(({ code }) => code), ["sending_disabled"]);
  fake.maySendOnly = true;
  assert.deepEqual(await esp.check(signal), { faults: [] });
  assert.equal(fake.mails.length, 0);
  await using wrong = openEsp(ses, settingsOf(fake, { secret_access_key: "wrong" }));
  assert.deepEqual((await wrong.check(signal)).faults.map(({ code }) => code), ["http_403"]);
  await using elsewhere = openEsp(ses, settingsOf(fake, { region: "us-east-1" }));
  assert.deepEqual((await elsewhere.check(signal)).faults.map(({ code }) => code), ["http_403"]);
});

Deno.test("ses: no secret appears in a report, however it comes back", async () => {
  await using fake = await FakeSes.open();
  fake.keys.clear();
  const token = "FwoGZXIvYXdzEXAMPLETOKEN==";
  fake.keys.set("ASIAEXAMPLE", { secret: "secret/with+signs", token });
  await using esp = openEsp(ses, settingsOf(fake, { session_token: token }));
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  fake.http.fail(says(403, "SignatureDoesNotMatch", `x-amz-security-token:${token} and secret/with+signs`));
  const report = await esp.deliver(parcelOf(["b@example.org"]), signal);
  const text = JSON.stringify([report.answer, ...report.recipients.values()]);
  assert.doesNotMatch(text, /FwoGZX|with\+signs/);
  assert.match(text, /\[secret\]/);
});

Deno.test("ses: settings want a region and the keys that their credentials need, and refuse what is unknown", () => {
  const keys = { "access_key_id": "A", "secret_access_key": "s" };
  const good = { region: "eu-west-1", ...keys };
  assert.deepEqual(ses.settings.parse(good), { ...good, credentials: "static" });
  const ambient = {
    region: "us-gov-west-1",
    credentials: "instance",
    "role_arn": "arn:aws-us-gov:iam::123456789012:role/x/y",
  };
  assert.deepEqual(ses.settings.parse(ambient), ambient);
  for (
    const bad of [
      keys,
      { ...good, region: "eu-west-1.evil.example/" },
      { ...good, region: "" },
      { region: "eu-west-1" },
      { region: "eu-west-1", access_key_id: "A" },
      { ...good, credentials: "environment" },
      { region: "eu-west-1", credentials: "profile" },
      { ...good, role_arn: "role/x" },
      { ...good, configuration_set: "a b" },
      { ...good, endpoint: "ftp://x" },
      { ...good, extra: 1 },
    ]
  ) assert.equal(ses.settings.safeParse(bad).success, false, JSON.stringify(bad));
  assert.deepEqual(ses.secretKeys, ["webhook", "secret_access_key", "session_token"]);
  assert.throws(() => openEsp(ses, ambient), /not available here/);
});
