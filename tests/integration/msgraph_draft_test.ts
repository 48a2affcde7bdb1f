import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { msgraph } from "../../lib/esp/msgraph.ts";
import { GraphMailbox } from "../../lib/esp/msgraph_call.ts";
import { sendByDraft } from "../../lib/esp/msgraph_draft.ts";
import { graphSettings } from "../../lib/esp/msgraph_settings.ts";
import { outgoingOf } from "../../lib/mime/outgoing.ts";
import { AddressNotAllowed } from "../../lib/network/guard.ts";
import { FakeGraph } from "../support/fake_graph.ts";
import type { HttpFault } from "../support/faulty_http.ts";
import { app, graphSettingsOf } from "../support/graph_app.ts";
import { HeldTime } from "../support/held_time.ts";
import { deliverInWords, espIo, inWords, openEsp, parcelOf, streamedBody } from "../support/parcels.ts";

const { signal } = new AbortController();
const head =
  "From: a@example.com\r\nTo: b@example.org\r\nCc: stranger@example.org\r\nSubject: Large\r\nX-Own: 1\r\n" +
  "MIME-Version: 1.0\r\n";

/** Bytes that no text looks like, always the same. */
function noise(length: number, seed: number): Buffer {
  const block = Buffer.concat(
    Array.from({ length: 64 }, (_, index) => createHash("sha512").update(`${seed}.${index}`).digest()),
  );
  return Buffer.alloc(length, block);
}

function base64(bytes: Buffer): string {
  return bytes.toString("base64").replace(/.{76}/g, "$&\r\n");
}

function file(name: string, bytes: Buffer, more = ""): string {
  return `Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n${more}` +
    `Content-Disposition: attachment; filename="${name}"\r\n\r\n${base64(bytes)}`;
}

function multipart(type: string, boundary: string, parts: readonly string[]): string {
  return `Content-Type: multipart/${type}; boundary=${boundary}\r\n\r\n` +
    parts.map((part) => `--${boundary}\r\n${part}\r\n`).join("") + `--${boundary}--\r\n`;
}

const texts = multipart("alternative", "alt", [
  "Content-Type: text/plain; charset=utf-8\r\n\r\nPlain text",
  "Content-Type: text/html; charset=utf-8\r\n\r\n<p>HTML <img src='cid:pic@x'>",
]);
const [small, medium, large, picture] = [
  noise(40_000, 1),
  noise(2_000_000, 2),
  noise(9_000_001, 3),
  noise(700_000, 4),
];
const inline = "Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\nContent-ID: <pic@x>\r\n" +
  `Content-Disposition: inline; filename*=utf-8''%C3%A4.png\r\n\r\n${base64(picture)}`;
const mail = Buffer.from(
  head + multipart("mixed", "mix", [
    multipart("related", "rel", [texts, inline]),
    file("small.pdf", small),
    file("medium.pdf", medium),
    file("large.pdf", large),
  ]),
);

Deno.test("msgraph: a large message is a draft with its texts, and its files beside it, hash by hash", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const parcel = parcelOf(["b@example.org", "blind@example.net"], streamedBody(mail));
  const report = await esp.deliver(parcel, signal);
  assert.deepEqual([...report.recipients.values()].map(inWords), ["accepted", "accepted"]);
  const [sent, ...more] = fake.sent;
  assert.deepEqual([more.length, fake.drafts.size], [0, 0]);
  assert.deepEqual([...sent?.recipients ?? []].sort(), ["b@example.org", "blind@example.net"]);
  const text = sent?.visible.toString() ?? "";
  assert.match(text, /Plain text[^]*<p>HTML[^]*small\.pdf/);
  assert.match(text, /^X-Own: 1\r$/m);
  assert.doesNotMatch(text, /blind|stranger|medium|large/);
  assert.ok(text.includes(base64(small)) && text.includes(base64(picture)));
  assert.deepEqual(sent?.added.map(({ content: _, ...rest }) => rest), [
    { name: "medium.pdf", contentType: "application/pdf", isInline: false },
    { name: "large.pdf", contentType: "application/pdf", isInline: false },
  ]);
  assert.ok(sent?.added[0]?.content.equals(medium));
  assert.ok(sent?.added[1]?.content.equals(large));
});

Deno.test("msgraph: pictures in the text, files in every encoding and forwarded messages keep their names and bytes", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const csv = `Content-Type: text/csv; charset=iso-8859-1; name="Gr\xf6\xdfe.csv"\r\n` +
    `Content-Transfer-Encoding: quoted-printable\r\n\r\n${"a=3Db=\r\n;=E4 \r\n".repeat(150_000)}`;
  const forwarded = `Content-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\n${"text\r\n".repeat(400_000)}`;
  const message = Buffer.from(
    head + multipart("mixed", "mix", [
      multipart("related", "rel", [texts, inline.replace(base64(picture), base64(medium))]),
      csv,
      forwarded,
    ]),
    "latin1",
  );
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(message))), [
    "accepted",
  ]);
  const added = fake.sent[0]?.added ?? [];
  assert.deepEqual(added.map(({ content: _, ...rest }) => rest), [
    { name: "ä.png", contentType: "image/png", isInline: true, contentId: "pic@x" },
    { name: "Größe.csv", contentType: "text/csv; charset=iso-8859-1", isInline: false },
    { name: "message-3.eml", contentType: "message/rfc822", isInline: false },
  ]);
  assert.ok(added[0]?.content.equals(medium));
  assert.equal(added[1]?.content.toString("latin1"), "a=b;\xe4\r\n".repeat(150_000));
  assert.equal(added[2]?.content.toString(), `Subject: Inner\r\n\r\n${"text\r\n".repeat(400_000)}`);
});

Deno.test("msgraph: a long text goes by itself, one too long is refused with the limit", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const line = "Gr\xfc\xdfe und so weiter\r\n";
  const text = (count: number) =>
    Buffer.from(`${head}Content-Type: text/plain; charset=iso-8859-1\r\n\r\n${line.repeat(count)}`, "latin1");
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(text(150_000)))), [
    "accepted",
  ]);
  assert.equal(fake.sent[0]?.text, "Grüße und so weiter\n".repeat(150_000));
  const report = await esp.deliver(parcelOf(["b@example.org"], streamedBody(text(400_000))), signal);
  const [outcome] = report.recipients.values();
  assert.equal(inWords(outcome), "refused message message_too_large");
  assert.match(JSON.stringify(outcome), /2900000/);
  assert.deepEqual([fake.sent.length, fake.drafts.size], [1, 0]);
});

Deno.test("msgraph: a signed message is not taken apart: it goes as a whole or is refused", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const signed = (bytes: Buffer) =>
    Buffer.from(
      head + multipart("signed; protocol=x", "sig", [
        multipart("mixed", "mix", [texts, file("f.pdf", bytes)]),
        "Content-Type: application/pkcs7-signature\r\n\r\nAAAA",
      ]),
    );
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(signed(medium)))), [
    "accepted",
  ]);
  assert.ok(fake.sent[0]?.visible.toString().includes(base64(medium)));
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(signed(large)))), [
    "refused message message_too_large",
  ]);
});

const graphError = (status: number, code: string, headers = {}) => ({
  reply: { status, headers, body: { error: { code, message: "Words" } } },
});

/** The requests of one call: the token is there already. */
const steps = { create: 0, attach: 1, open: 2, piece: 3, lastPiece: 5, send: 6 } as const;

/** Where it goes wrong and how, what becomes of the recipient, whether it was sent, and whether the draft is left. */
const faults: readonly (readonly [keyof typeof steps, HttpFault, string, ("sent" | "left")?])[] = [
  ["create", graphError(403, "ErrorAccessDenied"), "wait credentials provider http_403"],
  ["create", graphError(413, "TooLarge"), "refused message message_too_large"],
  ["create", graphError(429, "ApplicationThrottled"), "wait throttled provider http_429"],
  ["create", { reply: { status: 200, body: {} } }, "retry provider answer_unexpected"],
  ["create", { reply: { status: 201, body: {} } }, "retry provider answer_unexpected"],
  ["create", { read: "reset" }, "retry provider connection_lost"],
  ["create", { read: "reset", served: true }, "retry provider connection_lost", "left"],
  ["create", { answered: "close", bytes: 90 }, "retry provider answer_unexpected", "left"],
  ["attach", graphError(413, "ErrorAttachmentSizeLimitExceeded"), "refused message message_too_large"],
  ["attach", graphError(500, "ErrorInternalServerError"), "retry provider http_500"],
  ["attach", { read: "reset", served: true }, "retry provider connection_lost"],
  ["attach", { reply: { status: 200 } }, "retry provider answer_unexpected"],
  ["open", graphError(404, "ErrorItemNotFound"), "retry provider http_404"],
  [
    "open",
    { reply: { status: 201, body: { uploadUrl: "file:///etc/passwd" } } },
    "wait configuration provider answer_unexpected",
  ],
  [
    "open",
    { reply: { status: 201, body: { uploadUrl: "::" } } },
    "wait configuration provider answer_unexpected",
  ],
  ["piece", graphError(401, "InvalidAuthenticationToken"), "retry provider http_401"],
  ["piece", graphError(404, "ErrorItemNotFound"), "retry provider http_404"],
  [
    "piece",
    graphError(503, "ServiceUnavailable", { "Retry-After": "3" }),
    "wait throttled provider http_503",
  ],
  ["piece", { reply: { status: 201 } }, "retry provider answer_unexpected"],
  ["piece", { header: "reset" }, "retry provider connection_lost"],
  ["lastPiece", { reply: { status: 200, body: {} } }, "retry provider answer_unexpected"],
  ["lastPiece", { read: "close", served: true }, "retry provider connection_lost"],
  ["send", graphError(403, "ErrorSendAsDenied"), "wait sender provider http_403"],
  ["send", graphError(400, "ErrorInvalidRecipients"), "refused message http_400"],
  ["send", graphError(429, "MailboxConcurrency"), "wait throttled provider http_429"],
  ["send", graphError(503, "ServiceUnavailable"), "retry provider http_503"],
  ["send", { read: "reset", served: true }, "unknown provider connection_lost", "sent"],
  ["send", { read: "reset" }, "unknown provider connection_lost", "left"],
  ["send", { read: "hang", served: true }, "unknown provider timeout", "sent"],
  ["send", graphError(404, "ErrorItemNotFound"), "unknown provider http_404", "left"],
  ["send", { reply: { status: 200 }, served: true }, "unknown provider answer_unexpected", "sent"],
];

/** So many requests go well, the next one does not. */
function failAfter(fake: FakeGraph, count: number, fault: HttpFault): void {
  fake.http.fail(...Array.from({ length: count }, () => ({ pieces: 1, everyMs: 0 })), fault);
}

Deno.test("msgraph: before a draft is sent every fault can be tried again, and no draft is left that can be removed", async (test) => {
  for (const [step, fault, expected, end] of faults) {
    await test.step(`${step} ${JSON.stringify(fault).slice(0, 80)}: ${expected}`, async () => {
      await using fake = await FakeGraph.open(app);
      const isHang = JSON.stringify(fault).includes("hang");
      const time = new HeldTime();
      await using esp = openEsp(msgraph, graphSettingsOf(fake), isHang ? { after: time.after } : {});
      await esp.check(signal);
      failAfter(fake, steps[step], fault);
      const words = deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail)));
      if (isHang) {
        await fake.http.hung;
        time.end();
      }
      assert.deepEqual(await words, [expected]);
      assert.equal(fake.http.unmet, 0);
      assert.equal(fake.sent.length, end === "sent" ? 1 : 0);
      assert.equal(fake.drafts.size, end === "left" ? 1 : 0);
    });
  }
});

Deno.test("msgraph: a draft that takes too long is given up before its worker counts the call as lost", async () => {
  const piecesInTime = 3;
  await using fake = await FakeGraph.open(app);
  await using mailbox = new GraphMailbox(graphSettings.parse(graphSettingsOf(fake)), espIo());
  let asked = 0;
  // Begins, one file, then two looks before pieces of the other: the next one is too late.
  const clock = () => asked++ <= piecesInTime ? 0 : 481_000;
  const outgoing = outgoingOf(mail, { dropped: [], recipients: ["b@example.org"] });
  const { outcome } = await sendByDraft(mailbox, outgoing, signal, clock);
  assert.equal(inWords(outcome), "retry provider timeout");
  assert.equal(asked, piecesInTime + 2);
  assert.deepEqual([fake.sent.length, fake.drafts.size], [0, 0]);
  assert.equal(fake.http.requests.at(-1)?.method, "DELETE");
});

Deno.test("msgraph: a call that is ended before its draft is sent waits, and spends nothing", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  await esp.check(signal);
  const before = fake.http.requests.length;
  failAfter(fake, steps.piece, { read: "hang" });
  const ended = new AbortController();
  const words = deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail)), ended.signal);
  await fake.http.read(before + steps.piece + 1);
  ended.abort();
  assert.deepEqual(await words, ["wait unavailable message aborted"]);
  assert.deepEqual([fake.sent.length, fake.drafts.size], [0, 0]);
});

Deno.test("msgraph: nothing is uploaded to where an endpoint of one's own may not be called", async () => {
  await using fake = await FakeGraph.open(app);
  const guardEndpoint = (url: URL) =>
    url.origin === fake.http.origin
      ? Promise.resolve()
      : Promise.reject(new AddressNotAllowed("It is not public"));
  await using esp = openEsp(msgraph, graphSettingsOf(fake), { guardEndpoint });
  await esp.check(signal);
  failAfter(fake, steps.open, {
    reply: { status: 201, body: { uploadUrl: "http://169.254.169.254/latest/meta-data" } },
  });
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail))), [
    "retry provider request_invalid",
  ]);
  assert.equal(fake.drafts.size, 0);
});

Deno.test("msgraph: cleanUp() removes drafts of calls that are long over, and nobody else's", async () => {
  const nowMs = Date.parse("2026-11-23T12:00:00Z");
  const now = () => new Date(nowMs);
  await using fake = await FakeGraph.open(app, now);
  await using esp = openEsp(msgraph, graphSettingsOf(fake), { now });
  const ours = "From: a@example.com\r\nx-smtp-proxy-call: 1\r\n\r\n";
  fake.leaveDraft(ours, new Date(nowMs - 7_200_000));
  const young = fake.leaveDraft(ours, new Date(nowMs - 60_000));
  const own = fake.leaveDraft("From: a@example.com\r\n\r\n", new Date(nowMs - 7_200_000));
  assert.equal(await esp.cleanUp?.(signal), 1);
  assert.deepEqual([...fake.drafts.keys()], [young, own]);
  assert.equal(await esp.cleanUp?.(signal), 0);
  fake.mayWrite = false;
  assert.equal(await esp.cleanUp?.(signal), 0);
  fake.mayWrite = true;
  fake.http.fail({ reply: { status: 500, body: "" } });
  await assert.rejects(async () => await esp.cleanUp?.(signal), /Cannot list drafts/);
});

Deno.test("msgraph: a draft that a killed worker left is found by its mark", async () => {
  let nowMs = Date.now();
  const now = () => new Date(nowMs);
  await using fake = await FakeGraph.open(app, now);
  await using esp = openEsp(msgraph, graphSettingsOf(fake), { now });
  await esp.check(signal);
  failAfter(fake, steps.send, { read: "reset" });
  await deliverInWords(esp, parcelOf(["b@example.org"], streamedBody(mail)));
  assert.equal(fake.drafts.size, 1);
  nowMs += 3_700_000;
  assert.equal(await esp.cleanUp?.(signal), 1);
  assert.equal(fake.drafts.size, 0);
});
