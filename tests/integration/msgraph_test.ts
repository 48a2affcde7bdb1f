import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { msgraph } from "../../lib/esp/msgraph.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { remoteEspContract } from "../contracts/esp_contract.ts";
import { awkwardMails } from "../support/awkward_mails.ts";
import { FakeGraph } from "../support/fake_graph.ts";
import { type FaultRow, testFaults } from "../support/esp_faults.ts";
import { app, graphSettingsOf } from "../support/graph_app.ts";
import { deliverInWords, inWords, openEsp, parcelOf, plainMail } from "../support/parcels.ts";

const { signal } = new AbortController();

remoteEspContract("msgraph", async () => {
  const fake = await FakeGraph.open(app);
  let isBroken = false;
  return {
    open: (changes) =>
      openEsp(msgraph, graphSettingsOf(fake, isBroken ? { endpoint: "http://127.0.0.1:9" } : {}), changes),
    received: () => [...fake.sent, ...fake.drafts.values()].map(({ visible }) => visible.toString()).join(""),
    breakDown: () => fake.http.close(),
    [Symbol.asyncDispose]: () => {
      isBroken = true;
      return fake[Symbol.asyncDispose]();
    },
  };
});

/** A message without the fields that name recipients and without ours. */
function bare(mime: Buffer): string {
  const text = mime.toString("latin1");
  const end = text.startsWith("\r\n") ? 0 : text.indexOf("\r\n\r\n");
  const head = text.slice(0, end < 0 ? text.length : end === 0 ? 0 : end + 2);
  const fields = head.split(/(?<=\r\n)(?![ \t])/).filter((field) =>
    !/^(to|cc|bcc|x-smtp-proxy-[a-z-]+):/i.test(field)
  );
  return fields.join("") + text.slice(head.length);
}

Deno.test("msgraph: awkward messages reach the envelope and nobody else, and keep every other byte", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  for (const { what, to, bytes } of awkwardMails()) {
    const before = fake.sent.length;
    const parcel = parcelOf(to, memoryBody(bytes));
    const report = await esp.deliver(parcel, signal);
    assert.deepEqual([...report.recipients.values()].map(inWords), to.map(() => "accepted"), what);
    assert.equal(fake.sent.length, before + 1, what);
    const mail = fake.sent[before];
    assert.deepEqual([...mail?.recipients ?? []].sort(), [...to].sort(), what);
    assert.equal(bare(mail?.visible ?? Buffer.alloc(0)), bare(bytes), what);
    assert.equal(mail?.headers.get("x-smtp-proxy-message-id"), parcel.message.id, what);
    const names = ["to", "cc"].map((name) => mail?.headers.get(name) ?? "").join();
    assert.doesNotMatch(names, /hidden|stranger|c@example/, what);
  }
  assert.equal(fake.login.given, 1);
});

Deno.test("msgraph: nobody sees a blind recipient, whatever the header says", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const mail = 'From: a@example.com\r\nTo: "B" <B@Example.org>, x@example.org\r\nBcc: old@example.net\r\n' +
    "Resent-Bcc: older@example.net\r\nSubject: s\r\n\r\nHi\r\n";
  await deliverInWords(esp, parcelOf(["b@example.org", "blind1@example.net", "blind2@example.net"], mail));
  const [sent] = fake.sent;
  assert.deepEqual([...sent?.recipients ?? []].sort(), [
    "b@example.org",
    "blind1@example.net",
    "blind2@example.net",
  ]);
  assert.match(sent?.visible.toString() ?? "", /^To: "B" <B@Example\.org>\r\n/m);
  assert.doesNotMatch(sent?.visible.toString() ?? "", /blind|old|x@example/);
});

Deno.test("msgraph: an address it does not take is found, and all others get their mail once", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const to = Array.from({ length: 30 }, (_, index) => `r${index}@example.org`);
  fake.badAddresses.add("r7@example.org");
  assert.deepEqual(
    await deliverInWords(esp, parcelOf(to)),
    to.map((address) => fake.badAddresses.has(address) ? "refused message http_400" : "accepted"),
  );
  assert.deepEqual(
    fake.sent.flatMap((mail) => mail.recipients).sort(),
    to.filter((one) => one !== "r7@example.org").sort(),
  );
});

const graphError = (status: number, code: string, headers = {}, innerError = {}) => ({
  reply: { status, headers, body: { error: { code, message: "Words of the service", innerError } } },
});

/** What goes wrong with the mail, what becomes of the recipient, whether it was sent, and the wait in seconds. */
const faults: readonly FaultRow[] = [
  [graphError(400, "ErrorMimeContentInvalidBase64String"), "refused message http_400"],
  [graphError(400, "ErrorMimeContentInvalid"), "refused message http_400"],
  [graphError(400, "RequestBodyRead"), "refused message http_400"],
  [graphError(400, "UnableToDeserializePostBody"), "refused message http_400"],
  [graphError(400, "InvalidInternetMessageHeaderCollection"), "refused message http_400"],
  [graphError(400, "ErrorInvalidRecipients"), "refused message http_400"],
  [graphError(400, "ErrorMessageSizeExceeded"), "refused message message_too_large"],
  [graphError(413, "RequestEntityTooLarge"), "refused message message_too_large"],
  [{ reply: { status: 413, body: "<html>" } }, "refused message message_too_large"],
  [graphError(400, "BadRequest", {}, { code: "ErrorSendAsDenied" }), "wait sender provider http_400"],
  [graphError(403, "ErrorAccessDenied"), "wait credentials provider http_403"],
  [graphError(403, "Authorization_RequestDenied"), "wait credentials provider http_403"],
  [graphError(403, "ErrorSendAsDenied"), "wait sender provider http_403"],
  [graphError(403, "ErrorMessageSubmissionBlocked"), "wait configuration provider http_403"],
  [graphError(403, "ErrorExceededMessageLimit"), "wait throttled provider http_403", "not sent", 3600],
  [
    graphError(403, "ErrorExceededMessageLimit", { "Retry-After": "600" }),
    "wait throttled provider http_403",
    "not sent",
    600,
  ],
  [graphError(404, "ErrorInvalidUser"), "wait configuration provider http_404"],
  [graphError(404, "ResourceNotFound"), "wait configuration provider http_404"],
  [graphError(404, "MailboxNotEnabledForRESTAPI"), "wait configuration provider http_404"],
  [graphError(409, "ErrorIrresolvableConflict"), "retry provider http_409"],
  [graphError(423, "ErrorItemLocked"), "retry provider http_423"],
  [
    graphError(429, "ApplicationThrottled", { "Retry-After": "12" }),
    "wait throttled provider http_429",
    "not sent",
    12,
  ],
  [
    graphError(429, "TooManyRequests", {}, { code: "MailboxConcurrency" }),
    "wait throttled provider http_429",
  ],
  [graphError(429, "ErrorExceededMessageLimit"), "wait throttled provider http_429", "not sent", 3600],
  [graphError(500, "ErrorInternalServerError"), "retry provider http_500"],
  [graphError(502, "UnknownError"), "retry provider http_502"],
  [
    graphError(503, "serviceNotAvailable", { "Retry-After": "20" }),
    "wait throttled provider http_503",
    "not sent",
    20,
  ],
  [graphError(503, "ErrorServerBusy"), "wait throttled provider http_503"],
  [graphError(504, "UnknownError"), "retry provider http_504"],
  [graphError(507, "ErrorQuotaExceeded"), "wait configuration provider http_507"],
  [{ reply: { status: 509, body: "Bandwidth" } }, "retry provider http_509"],
  [{ reply: { status: 200 } }, "unknown provider answer_unexpected"],
  [{ reply: { status: 200 }, served: true }, "unknown provider answer_unexpected", "sent"],
  [
    { reply: { status: 302, headers: { Location: "http://127.0.0.1/" } } },
    "wait configuration provider http_302",
  ],
  [{ answered: "close", bytes: 0 }, "unknown provider connection_lost", "sent"],
  [{ answered: "reset", bytes: 9 }, "unknown provider connection_lost", "sent"],
  [{ read: "reset", served: true }, "unknown provider connection_lost", "sent"],
  [{ read: "close" }, "unknown provider connection_lost"],
  [{ read: "hang", served: true }, "unknown provider timeout", "sent"],
  [{ header: "reset" }, "unknown provider connection_lost"],
  [{ raw: "\0\0\0" }, "unknown provider protocol_error"],
  [{ pieces: 4, everyMs: 5 }, "accepted", "sent"],
];

testFaults("msgraph", faults, {
  open: () => FakeGraph.open(app),
  http: (fake) => fake.http,
  sent: (fake) => fake.sent.length,
  openEsp: (fake, times) => openEsp(msgraph, graphSettingsOf(fake), times),
  prepare: (esp) => esp.check(signal),
});

Deno.test("msgraph: tells the error's name, the request and no secret", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  fake.senders.clear();
  const { answer } = await esp.deliver(parcelOf(["b@example.org"]), signal);
  assert.deepEqual([answer?.code, answer?.espCode, answer?.requestId], [
    403,
    "ErrorSendAsDenied",
    "11111111-2222-3333-4444-555555555555",
  ]);
  await using wrong = openEsp(msgraph, graphSettingsOf(fake, { "client_secret": "another-secret" }));
  const report = await wrong.deliver(parcelOf(["b@example.org"]), signal);
  assert.equal(report.answer?.espCode, "invalid_client AADSTS7000215");
  assert.doesNotMatch(JSON.stringify([report.answer, ...report.recipients.values()]), /another-secret/);
});

Deno.test("msgraph: check() proves a mailbox that may be read and one that may only be sent by", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  assert.deepEqual(await esp.check(signal), { faults: [] });
  fake.mayWrite = false;
  assert.deepEqual(await esp.check(signal), { faults: [] });
  assert.equal(fake.sent.length, 0);
  await using other = openEsp(msgraph, graphSettingsOf(fake, { "user_id": "nobody@example.com" }));
  assert.deepEqual((await other.check(signal)).faults.map(({ code }) => code), ["http_404"]);
  await using wrong = openEsp(msgraph, graphSettingsOf(fake, { "client_secret": "x" }));
  assert.deepEqual((await wrong.check(signal)).faults.map(({ code }) => code), ["http_401"]);
  fake.http.fail({ reply: { status: 403, body: {} } }, { reply: { status: 403, body: {} } });
  assert.deepEqual((await esp.check(signal)).faults.map(({ code }) => code), ["http_403"]);
});

Deno.test("msgraph: removes control fields and, where told, signatures", async () => {
  await using fake = await FakeGraph.open(app);
  const mail = `X-MS-Exchange-Organization-SCL: -1\r\nX-SES-A: 1\r\nDKIM-Signature: v=1\r\n${plainMail}`;
  await using esp = openEsp(msgraph, graphSettingsOf(fake, { "strip_dkim": true }));
  await deliverInWords(esp, parcelOf(["b@example.org"], mail));
  assert.equal(bare(fake.sent[0]?.visible ?? Buffer.alloc(0)), bare(Buffer.from(plainMail)));
});

Deno.test("msgraph: settings want a mailbox and either a secret or a certificate with its key", () => {
  const good = { "tenant_id": "t", "client_id": "c", "client_secret": "s", "user_id": "a@example.com" };
  assert.equal(msgraph.settings.parse(good).cloud, "global");
  const { client_secret: _, ...none } = good;
  for (
    const bad of [
      none,
      { ...good, certificate: "x" },
      {
        ...none,
        certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
        "private_key": "x",
      },
      { ...good, "user_id": "a/b" },
      { ...good, "tenant_id": "a/b" },
      { ...good, cloud: "mars" },
      { ...good, extra: 1 },
    ]
  ) assert.equal(msgraph.settings.safeParse(bad).success, false, JSON.stringify(bad));
  assert.deepEqual(msgraph.secretKeys, ["webhook", "client_secret", "private_key"]);
});
