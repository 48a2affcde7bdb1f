import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { mailgun } from "../../lib/esp/mailgun.ts";
import { msgraph } from "../../lib/esp/msgraph.ts";
import { sendgrid } from "../../lib/esp/sendgrid.ts";
import { ses } from "../../lib/esp/ses.ts";
import type { Esp } from "../../lib/esp/esp.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { FakeGraph } from "../support/fake_graph.ts";
import { FakeMailgun } from "../support/fake_mailgun.ts";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import { FakeSes } from "../support/fake_ses.ts";
import type { SeenRequest } from "../support/faulty_http.ts";
import { app, graphSettingsOf } from "../support/graph_app.ts";
import { deliverInWords, openEsp, parcelOf } from "../support/parcels.ts";
import { mimeOf, recipientsOf, type SampleMail, sampleMails } from "../support/sample_mails.ts";
import { seenByGraph, sendByGraphJson, sendByGraphMime } from "../support/sdk_graph.ts";
import { sendByMailgunSdk } from "../support/sdk_mailgun.ts";
import { seenBySendgrid, sendBySendgridSdk } from "../support/sdk_sendgrid.ts";
import { sendBySesSdk } from "../support/sdk_ses.ts";
import { seenInMime, type SeenMail, sorted } from "../support/seen_mail.ts";

const leastMails = 12;

/** Hands a message to our client as it came by SMTP: with its Bcc, and the envelope beside it. */
async function deliver(esp: Esp, mail: SampleMail): Promise<void> {
  const to = recipientsOf(mail);
  const body = memoryBody(await mimeOf(mail, true));
  assert.deepEqual(await deliverInWords(esp, parcelOf(to, body)), to.map(() => "accepted"), mail.what);
}

/** All that our requests say and those of SDKs do not: by it a service's reports find their message and their call. */
const addedParts: Readonly<Record<string, readonly string[]>> = {
  sendgrid: ["custom_args"],
  ses: ["EmailTags"],
  mailgun: ["o:suppress-headers", "v:call-id", "v:message-id"],
};

/** Names of a JSON request's members that another does not have. */
function addedBy(ours: string, theirs: string): readonly string[] {
  const known = Object.keys(JSON.parse(theirs));
  return Object.keys(JSON.parse(ours)).filter((name) => !known.includes(name));
}

/** What SDKs leave to their service, or we add by intention. */
function without(seen: SeenMail, names: readonly string[]): SeenMail {
  const headers = Object.entries(seen.headers).filter(([name]) => !names.includes(name));
  return { ...seen, headers: Object.fromEntries(headers) };
}

/** Nobody hears of a blind recipient: in no field, and in no list that others see. */
function assertBlind(seen: SeenMail, { what, bcc }: SampleMail): void {
  for (const hidden of bcc) {
    const others = Object.entries(seen.shown).filter(([recipient]) => recipient !== hidden);
    const text = JSON.stringify([others.map(([, lists]) => lists), seen.headers, seen.replyTo, seen.from]);
    assert.ok(!text.toLowerCase().includes(hidden), `${what}: ${hidden}`);
    assert.ok(seen.recipients.includes(hidden), `${what}: ${hidden}`);
  }
}

function bodyText({ body }: SeenRequest): string {
  return new TextDecoder().decode(body);
}

function last<Item>(items: readonly Item[]): Item {
  const item = items.at(-1);
  if (item === undefined) throw new Error("Nothing was taken");
  return item;
}

/** No charset can be named there, so a text of another one than UTF-8 is called bytes: the only difference we intend. */
const calledBytes: readonly string[] = ["a text file that is no UTF-8"];

function asText(seen: SeenMail): SeenMail {
  const parts = seen.parts.map((part) =>
    part.type === "application/octet-stream" ? { ...part, type: "text/plain" } : part
  );
  return { ...seen, parts: sorted(parts) };
}

Deno.test("sendgrid: says of typical messages what SendGrid's own client says of them", async () => {
  assert.ok(sampleMails.length >= leastMails);
  await using fake = await FakeSendgrid.open();
  await using esp = openEsp(sendgrid, { api_key: fake.key, endpoint: fake.http.origin });
  for (const mail of sampleMails) {
    await sendBySendgridSdk(mail, fake.http.origin, fake.key);
    const theirs = last(fake.taken);
    const expected = seenBySendgrid(theirs);
    await deliver(esp, mail);
    const said = seenBySendgrid(last(fake.taken));
    const seen = calledBytes.includes(mail.what) ? asText(said) : said;
    // Our message has its id and its date, which are header fields there; theirs gets them from SendGrid.
    assert.deepEqual(
      addedBy(last(fake.taken), theirs).filter((name) => name !== "headers"),
      addedParts["sendgrid"],
      mail.what,
    );
    assert.deepEqual(without(seen, ["message-id", "date"]), expected, mail.what);
    assertBlind(seen, mail);
  }
});

Deno.test("ses: gives typical messages on byte for byte as Amazon's own client does, to the same recipients", async () => {
  await using fake = await FakeSes.open();
  const [accessKeyId = "", { secret } = { secret: "" }] = [...fake.keys][0] ?? [];
  const { region, http: { origin: endpoint } } = fake;
  await using esp = openEsp(ses, {
    endpoint,
    region,
    access_key_id: accessKeyId,
    secret_access_key: secret,
  });
  for (const mail of sampleMails) {
    await sendBySesSdk(mail, { endpoint, region, accessKeyId, secretAccessKey: secret });
    const expected = last(fake.mails);
    const theirs = bodyText(last(fake.http.requests));
    await deliver(esp, mail);
    assert.deepEqual(addedBy(bodyText(last(fake.http.requests)), theirs), addedParts["ses"], mail.what);
    const { raw, to } = last(fake.mails);
    assert.deepEqual(seenInMime(raw, to), seenInMime(expected.raw, expected.to), mail.what);
    assert.ok(raw.equals(expected.raw), mail.what);
    assertBlind(seenInMime(raw, to), mail);
  }
});

Deno.test("mailgun: gives typical messages on byte for byte as Mailgun's own client does, to the same recipients", async () => {
  await using fake = await FakeMailgun.open();
  const { key, domain, http: { origin } } = fake;
  await using esp = openEsp(mailgun, { api_key: key, domain, endpoint: origin });
  for (const mail of sampleMails) {
    await sendByMailgunSdk(mail, { url: origin, key, domain });
    const expected = last(fake.mails);
    await deliver(esp, mail);
    const { mime, to, options } = last(fake.mails);
    assert.deepEqual([...options.keys()].sort(), addedParts["mailgun"], mail.what);
    assert.equal(expected.options.size, 0);
    assert.deepEqual(seenInMime(mime, to), seenInMime(expected.mime, expected.to), mail.what);
    assert.ok(mime.equals(expected.mime), mail.what);
    assertBlind(seenInMime(mime, to), mail);
  }
});

/** The field that tells a message apart in Sent Items and in reports. */
const ownFields = ["x-smtp-proxy-message-id", "x-smtp-proxy-call"];

Deno.test("msgraph: says of typical messages what Microsoft's own client says of them as MIME", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  for (const mail of sampleMails) {
    await sendByGraphMime(mail, fake);
    const expected = seenByGraph(last(fake.sent));
    await deliver(esp, mail);
    const seen = seenByGraph(last(fake.sent));
    assert.deepEqual(without(seen, ownFields), expected, mail.what);
    assertBlind(seen, mail);
  }
});

/** A message in JSON has one text and no fields but X-*: what we send says more, and nothing else. */
const lostInJson: readonly string[] = [
  "in-reply-to",
  "references",
  "list-unsubscribe",
  "list-unsubscribe-post",
  "list-id",
  "auto-submitted",
  "message-id",
  "date",
];

Deno.test("msgraph: says of typical messages what Microsoft's own client says of them in JSON, and no less", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  const large: SampleMail = {
    ...sampleMails[0] as SampleMail,
    what: "a file that goes up in pieces",
    files: [{ name: "Größe.bin", type: "application/octet-stream", content: Buffer.alloc(4_500_001, 7) }],
  };
  for (const mail of [...sampleMails, large]) {
    await sendByGraphJson(mail, fake);
    const expected = seenByGraph(last(fake.sent));
    await deliver(esp, mail);
    const { parts, ...seen } = without(seenByGraph(last(fake.sent)), [...ownFields, ...lostInJson]);
    const { parts: expectedParts, ...others } = expected;
    assert.deepEqual(seen, others, mail.what);
    const empty = mail.texts.length === 0 ? 1 : 0;
    const missing = expectedParts.filter((part) =>
      !parts.some((one) => JSON.stringify(one) === JSON.stringify(part))
    );
    assert.ok(missing.length <= empty, `${mail.what}: ${JSON.stringify({ missing, parts })}`);
    const more = parts.filter(({ disposition }) => disposition !== "text").length -
      expectedParts.filter(({ disposition }) => disposition !== "text").length;
    assert.equal(more, 0, mail.what);
  }
});
