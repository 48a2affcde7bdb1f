import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { ses } from "../../lib/esp/ses.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { FakeSes } from "../support/fake_ses.ts";
import type { HttpFault } from "../support/faulty_http.ts";
import { inWords, openEsp, parcelOf } from "../support/parcels.ts";

const { signal } = new AbortController();
const name = fc.stringMatching(/^[a-z]{1,12}$/);
const addresses = (min: number) =>
  fc.uniqueArray(name.map((local) => `${local}@example.org`), { minLength: min, maxLength: 30 });
const list = (field: string, them: readonly string[]) =>
  them.length === 0 ? "" : `${field}: ${them.join(",\r\n ")}\r\n`;
const faults: readonly HttpFault[] = [
  { reply: { status: 500 } },
  { reply: { status: 429, body: { message: "slow" } } },
  { read: "reset" },
  { read: "reset", served: true },
];

Deno.test("ses: whatever is sent to whomever, everybody of the envelope has one end, and nobody else gets or sees a thing", async () => {
  await using fake = await FakeSes.open();
  const [id = "", key] = [...fake.keys][0] ?? [];
  const settings = {
    region: fake.region,
    endpoint: fake.http.origin,
    "access_key_id": id,
    "secret_access_key": key?.secret,
  };
  await using esp = openEsp(ses, settings);
  await fc.assert(
    fc.asyncProperty(
      addresses(1),
      addresses(0),
      addresses(0),
      fc.array(fc.boolean(), { minLength: 30, maxLength: 30 }),
      fc.uint8Array({ maxLength: 5000 }),
      fc.option(fc.integer({ min: 0, max: faults.length - 1 }), { nil: undefined, freq: 4 }),
      async (envelope, shown, blind, marks, content, fault) => {
        fake.mails.length = 0;
        fake.badAddresses.clear();
        for (const [index, address] of envelope.entries()) {
          if (marks[index] === true && index % 5 === 0) fake.badAddresses.add(address);
        }
        const visible = `From: a@example.com\r\n${list("To", shown)}Subject: Hi\r\n\r\n`;
        const hidden = list("Bcc", blind) + visible;
        const mail = Buffer.concat([Buffer.from(hidden), content]);
        const chosen = fault === undefined ? undefined : faults[fault];
        if (chosen !== undefined) fake.http.fail(chosen);
        const parcel = parcelOf(envelope, memoryBody(mail));
        const report = await esp.deliver(parcel, signal);
        assert.deepEqual(
          [...report.recipients.keys()].sort((a, b) => a - b),
          parcel.recipients.map((one) => one.id),
        );
        const sent = fake.mails.flatMap((one) => one.to);
        assert.equal(new Set(sent).size, sent.length, "somebody got it twice");
        for (const { id, address } of parcel.recipients) {
          const words = inWords(report.recipients.get(id));
          const isSent = sent.includes(address);
          if (words === "accepted") assert.ok(isSent, address);
          else if (isSent) assert.match(words, /^unknown/);
          if (chosen === undefined) {
            assert.equal(words === "accepted", !fake.badAddresses.has(address), words);
          }
        }
        for (const { to, raw } of fake.mails) {
          assert.ok(to.every((address) => envelope.includes(address)), "somebody else got it");
          assert.ok(raw.equals(Buffer.concat([Buffer.from(visible), content])));
        }
      },
    ),
    { numRuns: 60 },
  );
});
