import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Esp } from "../../lib/esp/esp.ts";
import { sendgrid } from "../../lib/esp/sendgrid.ts";
import { AddressNotAllowed } from "../../lib/network/guard.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { remoteEspContract } from "../contracts/esp_contract.ts";
import { awkwardMails } from "../support/awkward_mails.ts";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import type { SentMail } from "../support/fake_sendgrid.ts";
import { deliverInWords, inWords, openEsp, parcelOf, plainMail, streamedBody } from "../support/parcels.ts";

const { signal } = new AbortController();

function settingsOf(fake: FakeSendgrid, changes: Record<string, unknown> = {}) {
  return { "api_key": fake.key, endpoint: fake.http.origin, ...changes };
}

function open(fake: FakeSendgrid, changes: Record<string, unknown> = {}): Esp {
  return openEsp(sendgrid, settingsOf(fake, changes));
}

function inText({ to, cc, bcc, subject, headers, content }: SentMail): string {
  const shown = [...to, ...cc, ...bcc].map(({ email }) => email).join(" ");
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join("\n");
  return `To: ${shown}\nSubject: ${subject}\n${fields}\n${content.map(({ value }) => value).join("\n")}\n`;
}

remoteEspContract("sendgrid", async () => {
  const fake = await FakeSendgrid.open();
  return {
    open: (changes) => openEsp(sendgrid, settingsOf(fake), changes),
    received: () => fake.mails.map(inText).join(""),
    breakDown: () => fake.http.close(),
    [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
  };
});

function everybody({ to, cc, bcc }: SentMail): readonly string[] {
  return [...to, ...cc, ...bcc].map(({ email }) => email);
}

/** One mail as the service took it. */
async function sent(
  mail: string,
  to: readonly string[] = ["b@example.org"],
  changes = {},
): Promise<SentMail> {
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake, changes);
  const parcel = parcelOf(to, memoryBody(Buffer.from(mail.replace(/\r?\n/g, "\r\n"), "latin1")));
  const report = await esp.deliver(parcel, signal);
  assert.deepEqual([...report.recipients.values()].map(inWords), to.map(() => "accepted"));
  const [first] = fake.mails;
  assert.ok(first);
  return first;
}

Deno.test("sendgrid: takes awkward messages apart so that SendGrid takes them, for the envelope and nobody else", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake);
  for (const { what, to, bytes } of awkwardMails()) {
    const before = fake.mails.length;
    const report = await esp.deliver(parcelOf(to, memoryBody(bytes)), signal);
    assert.deepEqual([...report.recipients.values()].map(inWords), to.map(() => "accepted"), what);
    assert.equal(report.providerMessageId?.length, 22);
    const mails = fake.mails.slice(before);
    assert.deepEqual(mails.flatMap(everybody).toSorted(), to.toSorted(), what);
    for (const mail of mails.filter(({ to, cc }) => to.length + cc.length > 1)) {
      assert.ok([...mail.to, ...mail.cc].every(({ email }) => email !== "hidden@example.net"), what);
    }
  }
});

Deno.test("sendgrid: says texts, pictures, files, names and charsets as they were sent", async () => {
  const mail = await sent(`From: =?utf-8?q?J=C3=B6rg_=22J=22?= <a@example.com>
To: "Bob, B." <b@example.org>, Stranger <x@example.org>
Reply-To: Ann <r1@example.com>, r2@example.com, R1 <R1@example.com>
Subject: =?iso-8859-1?q?Gr=FC=DFe?=
Message-ID: <1@example.com>
In-Reply-To: <0@example.com>
References: <0@example.com>
 <00@example.com>
List-Unsubscribe: <https://example.com/u>, <mailto:u@example.com>
List-Unsubscribe-Post: List-Unsubscribe=One-Click
X-Raw: gr\xfcn
X-Tag: a
X-Tag: b
Received: from x by y
DKIM-Signature: v=1
X-SES-CONFIGURATION-SET: c
Bcc: secret@example.net
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=m

--m
Content-Type: multipart/alternative; boundary=a

--a
Content-Type: text/plain; charset=iso-8859-1

gr\xfcn
--a
Content-Type: multipart/related; boundary=r

--r
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: quoted-printable

<img src=3D"cid:p@x">=E2=82=AC
--r
Content-Type: image/png; name=p.png
Content-ID: <p@x>
Content-Disposition: inline
Content-Transfer-Encoding: base64

iVBORw0KGgo=
--r--
--a
Content-Type: text/calendar; method=REQUEST; charset=utf-8

BEGIN:VCALENDAR
--a--
--m
Content-Type: text/csv; charset=iso-8859-1
Content-Disposition: attachment; filename*=utf-8''%C3%BC.csv

\xfc;1
--m
Content-Type: application/octet-stream
Content-Disposition: attachment; filename=empty

--m--
`);
  assert.deepEqual(mail.from, { email: "a@example.com", name: 'Jörg "J"' });
  assert.deepEqual(mail.to, [{ email: "b@example.org", name: "Bob, B." }]);
  assert.deepEqual([mail.cc, mail.bcc], [[], []]);
  assert.deepEqual(mail.replyTo, [{ email: "r1@example.com", name: "Ann" }, { email: "r2@example.com" }]);
  assert.equal(mail.subject, "Grüße");
  assert.deepEqual(mail.headers, {
    "Message-ID": "<1@example.com>",
    "In-Reply-To": "<0@example.com>",
    "References": "<0@example.com> <00@example.com>",
    "List-Unsubscribe": "<https://example.com/u>, <mailto:u@example.com>",
    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    "X-Raw": "=?utf-8?B?Z3LDvG4=?=",
    "X-Tag": "a, b",
  });
  assert.deepEqual(mail.content, [
    { type: "text/plain", value: "grün" },
    { type: "text/html", value: '<img src="cid:p@x">€' },
    { type: "text/calendar", value: "BEGIN:VCALENDAR" },
  ]);
  assert.deepEqual(
    mail.attachments.map(({ bytes, ...file }) => ({ ...file, hex: Buffer.from(bytes).toString("hex") })),
    [
      {
        filename: "p.png",
        type: "image/png",
        disposition: "inline",
        contentId: "p@x",
        hex: "89504e470d0a1a0a",
      },
      { filename: "ü.csv", type: "application/octet-stream", disposition: "attachment", hex: "fc3b31" },
    ],
  );
});

Deno.test("sendgrid: keeps blind recipients blind, and shows no address that gets nothing", async () => {
  const header =
    "From: a@example.com\nTo: Bob <B@example.org>, x@example.org\nCc: Cid <c@example.org>, b@example.org\n\nHi";
  const mail = await sent(header, ["b@example.org", "d@example.org", "c@example.org"]);
  assert.deepEqual([mail.to, mail.cc, mail.bcc], [
    [{ email: "b@example.org", name: "Bob" }],
    [{ email: "c@example.org", name: "Cid" }],
    [{ email: "d@example.org" }],
  ]);
  const onlyCc = await sent(header, ["c@example.org", "d@example.org"]);
  assert.deepEqual([onlyCc.to, onlyCc.cc, onlyCc.bcc], [
    [{ email: "c@example.org", name: "Cid" }],
    [],
    [{ email: "d@example.org" }],
  ]);
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake);
  const parcel = parcelOf(
    ["d@example.org", "e@example.org", "E@example.org"],
    header.replaceAll("\n", "\r\n"),
  );
  assert.deepEqual(await deliverInWords(esp, parcel), ["accepted", "accepted", "accepted"]);
  assert.deepEqual(fake.mails.map(everybody).map((all) => all.join().toLowerCase()), [
    "d@example.org",
    "e@example.org",
  ]);
});

Deno.test("sendgrid: takes a thousand blind recipients in one call", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake);
  const parcel = parcelOf(Array.from({ length: 1000 }, (_, index) => `r${index}@example.net`));
  assert.deepEqual(new Set(await deliverInWords(esp, parcel)), new Set(["accepted"]));
  assert.equal(fake.mails.length, 1000);
  assert.equal(fake.taken.length, 1);
  assert.ok(fake.mails.every((mail) => everybody(mail).length === 1));
});

Deno.test("sendgrid: generated messages reach their envelope, nobody sees the blind, and files stay as they were", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake);
  const name = fc.constantFrom("a", "b", "c", "d", "E", "f", "stranger");
  const names = fc.uniqueArray(name, { maxLength: 7 });
  await fc.assert(
    fc.asyncProperty(
      names,
      names,
      fc.uniqueArray(name, { minLength: 1, maxLength: 7 }),
      fc.array(fc.uint8Array({ minLength: 1, maxLength: 5000 }), { maxLength: 4 }),
      async (to, cc, envelope, files) => {
        const before = fake.mails.length;
        const addresses = envelope.map((local) => `${local}@example.org`);
        const text = mailOf(to, cc, files);
        const words = await deliverInWords(esp, parcelOf(addresses, text));
        assert.deepEqual(words, addresses.map(() => "accepted"));
        const mails = fake.mails.slice(before);
        assert.deepEqual(mails.flatMap(everybody).toSorted(), addresses.toSorted());
        const shown = new Set([...to, ...cc].map((local) => `${local}@example.org`));
        for (const mail of mails) {
          const seen = [...mail.to, ...mail.cc].map(({ email }) => email);
          assert.ok(
            mails.length > 1 ? seen.length === 1 : seen.length === 1 || seen.every((one) => shown.has(one)),
          );
          assert.deepEqual(mail.attachments.map(({ bytes }) => hash(bytes)), files.map(hash));
        }
      },
    ),
    { numRuns: 60 },
  );
});

function mailOf(to: readonly string[], cc: readonly string[], files: readonly Uint8Array[]): string {
  const line = (field: string, names: readonly string[]) =>
    names.length === 0 ? "" : `${field}: ${names.map((local) => `${local}@example.org`).join(", ")}\r\n`;
  const parts = files.map((bytes, index) => {
    const base64 = Buffer.from(bytes).toString("base64").replace(/.{76}(?=.)/g, "$&\r\n");
    return `--b\r\nContent-Type: application/x-a\r\nContent-Disposition: attachment; filename=${index}\r\n` +
      `Content-Transfer-Encoding: base64\r\n\r\n${base64}\r\n`;
  });
  return `From: a@example.com\r\n${line("To", to)}${line("Cc", cc)}Subject: x\r\n` +
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n${parts.join("")}--b--\r\n`;
}

function hash(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

Deno.test("sendgrid: a large message arrives whole, and its body is read as a stream", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake);
  const file = new Uint8Array(8_000_000).map((_, index) => (index * 7919) % 251);
  const parcel = parcelOf(["b@example.org"], streamedBody(Buffer.from(mailOf(["b"], [], [file]))));
  assert.deepEqual(await deliverInWords(esp, parcel), ["accepted"]);
  assert.equal(hash(fake.mails[0]?.attachments[0]?.bytes ?? new Uint8Array()), hash(file));
});

Deno.test("sendgrid: says our ids, and what clients say to SendGrid only where settings let them", async () => {
  const mail =
    'X-SMTPAPI: {"category":["a","a"],"unique_args":{"k":"v","message-id":"forged"},"to":["x@example.net"],' +
    `"asm_group_id":5,"send_at":"soon"}\r\n${plainMail}`;
  for (const isPassed of [false, true]) {
    await using fake = await FakeSendgrid.open();
    await using esp = open(fake, { "pass_control_headers": isPassed });
    const parcel = parcelOf(["b@example.org"], mail);
    assert.deepEqual(await deliverInWords(esp, parcel), ["accepted"]);
    const ids = { "message-id": parcel.message.id, "call-id": parcel.call };
    assert.deepEqual(fake.mails[0]?.customArgs, isPassed ? { k: "v", ...ids } : ids);
    assert.deepEqual(fake.mails[0]?.categories, isPassed ? ["a"] : []);
    assert.deepEqual(fake.mails[0]?.headers, {});
    assert.equal(fake.taken[0]?.includes('"asm":{"group_id":5}'), isPassed);
  }
});

Deno.test("sendgrid: addresses that it does not take are refused, and all others get their mail once", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake);
  fake.badAddresses.add("r1@example.org").add("b@example.org");
  const words = await deliverInWords(
    esp,
    parcelOf(["b@example.org", "r0@example.org", "r1@example.org", "r2@example.org"]),
  );
  assert.deepEqual(words, ["refused message http_400", "accepted", "refused message http_400", "accepted"]);
  assert.equal(fake.taken.length, 1);
  assert.deepEqual(fake.mails.flatMap(everybody), ["r0@example.org", "r2@example.org"]);
});

Deno.test("sendgrid: refuses what cannot be said", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = open(fake);
  const noSender = parcelOf(["b@example.org"], "To: b@example.org\r\n\r\nHi", { mailFrom: "" });
  assert.deepEqual(await deliverInWords(esp, noSender), ["refused message from_missing"]);
  const international = parcelOf(["b@example.org"], "From: jörg@example.com\r\n\r\nHi");
  assert.deepEqual(await deliverInWords(esp, international), ["refused message smtputf8_unsupported"]);
  const endless = `From: a@example.com\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n${
    "--b\r\n".repeat(20_000)
  }`;
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"], endless)), [
    "refused message too_many_parts",
  ]);
  assert.equal(fake.http.requests.length, 0);
});

Deno.test("sendgrid: check() tells working keys from others, and which domains are verified", async () => {
  await using fake = await FakeSendgrid.open();
  fake.domains = [{ domain: "Example.com", valid: true }, { domain: "example.net", valid: false }];
  await using esp = open(fake);
  assert.deepEqual(await esp.check(signal), { faults: [], domains: ["example.com"] });
  fake.scopes = ["mail.send"];
  assert.deepEqual(await esp.check(signal), { faults: [] });
  fake.scopes = ["stats.read"];
  assert.deepEqual((await esp.check(signal)).faults.map(({ code }) => code), ["scope_missing"]);
  await using wrong = open(fake, { "api_key": "SG.wrong" });
  assert.deepEqual((await wrong.check(signal)).faults.map(({ code }) => code), ["http_401"]);
  assert.deepEqual(fake.mails, []);
});

Deno.test("sendgrid: an endpoint that may not be called is not called", async () => {
  await using fake = await FakeSendgrid.open();
  await using esp = openEsp(sendgrid, settingsOf(fake), {
    guardEndpoint: () => Promise.reject(new AddressNotAllowed("Cannot call it")),
  });
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [
    "wait configuration provider request_invalid",
  ]);
  assert.equal(fake.http.connections, 0);
});

Deno.test("sendgrid: its settings take keys and regions, and nothing else", () => {
  const parse = (given: unknown) => sendgrid.settings.safeParse(given).success;
  assert.equal(parse({ "api_key": "SG.x" }), true);
  assert.equal(parse({ "api_key": "SG.x", region: "eu", unknown: "hold", "strip_dkim": true }), true);
  for (
    const wrong of [{}, { "api_key": "" }, { "api_key": "a\nb" }, { "api_key": "x", region: "us" }, {
      "api_key": "x",
      y: 1,
    }]
  ) {
    assert.equal(parse(wrong), false);
  }
  assert.ok(sendgrid.secretKeys.includes("api_key"));
});
