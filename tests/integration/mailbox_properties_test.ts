import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { mailgun } from "../../lib/esp/mailgun.ts";
import { msgraph } from "../../lib/esp/msgraph.ts";
import type { Esp } from "../../lib/esp/esp.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { FakeGraph } from "../support/fake_graph.ts";
import { FakeMailgun } from "../support/fake_mailgun.ts";
import { app, graphSettingsOf } from "../support/graph_app.ts";
import { openEsp, parcelOf } from "../support/parcels.ts";

const { signal } = new AbortController();

/** Seen by everybody, seen by nobody, and in the header without being meant. */
const shown = Array.from({ length: 6 }, (_, index) => `shown${index}@example.org`);
const blind = Array.from({ length: 6 }, (_, index) => `blind${index}@example.net`);
const strange = Array.from({ length: 4 }, (_, index) => `strange${index}@example.com`);

const written = (address: string) =>
  fc.constantFrom(
    address,
    `<${address}>`,
    `Ann Other <${address.toUpperCase()}>`,
    `"Other, Ann (x) <y@z>" <${address}>`,
    `=?utf-8?B?w6Q=?=\r\n <${address}>`,
    `(a comment, with comma) ${address}`,
  );
const list = (addresses: readonly string[]) =>
  fc.tuple(...addresses.map(written)).chain((entries) =>
    fc.shuffledSubarray(entries, { minLength: entries.length }).chain((order) =>
      fc.constantFrom(order.join(", "), order.join(",\r\n\t"), `Team: ${order.join(", ")};`)
    )
  );

/** A message and its envelope. */
const mail = fc.record({
  to: fc.subarray(shown),
  cc: fc.subarray(strange),
  hidden: fc.subarray(blind),
  bad: fc.subarray([...shown, ...blind], { maxLength: 2 }),
  text: fc.string({ unit: "binary", maxLength: 200 }),
  file: fc.uint8Array({ maxLength: 500 }),
}).filter(({ to, hidden }) => to.length + hidden.length > 0).chain((given) =>
  fc.record({ toField: list(given.to), ccField: list([...given.cc, ...given.to.slice(0, 1)]) }).map((
    fields,
  ) => ({
    ...given,
    ...fields,
    bytes: bytesOf({ ...given, ...fields }),
  }))
);

function bytesOf(given: {
  readonly toField: string;
  readonly ccField: string;
  readonly hidden: readonly string[];
  readonly text: string;
  readonly file: Uint8Array;
}): Buffer {
  const { toField, ccField, hidden, text, file } = given;
  return Buffer.concat([
    Buffer.from(
      `From: a@example.com\r\nTo: ${toField}\r\nBcc: ${
        hidden.join(", ")
      }\r\nCc: ${ccField}\r\nSubject: s\r\n` +
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=edge-0123456789\r\n\r\n" +
        "--edge-0123456789\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
        `${Buffer.from(text).toString("base64")}\r\n--edge-0123456789\r\nContent-Type: a/b; name=f\r\n` +
        "Content-Transfer-Encoding: base64\r\n\r\n",
    ),
    Buffer.from(`${file.toBase64()}\r\n--edge-0123456789--\r\n`),
  ]);
}

/** What the service has been given since it was last asked: recipients, and what each of them gets to see. */
type Given = () => readonly { readonly recipients: readonly string[]; readonly visible: Buffer }[];

async function holds(esp: Esp, badAddresses: Set<string>, given: Given): Promise<void> {
  await fc.assert(
    fc.asyncProperty(mail, async ({ to, hidden, bad, bytes, file }) => {
      badAddresses.clear();
      for (const address of bad) badAddresses.add(address);
      const envelope = [...to, ...hidden];
      const parcel = parcelOf(envelope, memoryBody(bytes));
      const report = await esp.deliver(parcel, signal);
      assert.deepEqual(
        [...report.recipients.keys()].sort((a, b) => a - b),
        parcel.recipients.map(({ id }) => id),
      );
      const kinds = new Map(
        parcel.recipients.map(({ id, address }) => [address, report.recipients.get(id)?.kind]),
      );
      for (const [address, kind] of kinds) {
        assert.equal(kind, badAddresses.has(address) ? "refused" : "accepted");
      }
      const sent = given();
      const wanted = envelope.filter((address) => !badAddresses.has(address)).sort();
      assert.deepEqual(sent.flatMap(({ recipients }) => recipients).sort(), wanted);
      for (const { visible } of sent) {
        const header = visible.subarray(0, visible.indexOf("\r\n\r\n")).toString();
        assert.doesNotMatch(header, /blind|^bcc/im);
        const hash = createHash("sha256").update(file).digest("hex");
        const seen = /name=f\r\n.*\r\n\r\n([A-Za-z0-9+/=]*)\r\n--edge/.exec(visible.toString())?.[1] ?? "";
        assert.equal(createHash("sha256").update(Buffer.from(seen, "base64")).digest("hex"), hash);
      }
    }),
    { numRuns: 60 },
  );
}

Deno.test("msgraph: accepted and refused together are the envelope, nobody blind is seen, files arrive whole", async () => {
  await using fake = await FakeGraph.open(app);
  await using esp = openEsp(msgraph, graphSettingsOf(fake));
  await holds(esp, fake.badAddresses, () => {
    const sent = fake.sent.splice(0);
    for (const { visible } of sent) assert.doesNotMatch(visible.toString(), /strange/i);
    return sent;
  });
});

Deno.test("mailgun: accepted and refused together are the envelope, nobody blind is seen, files arrive whole", async () => {
  await using fake = await FakeMailgun.open();
  await using esp = openEsp(mailgun, {
    "api_key": fake.key,
    domain: fake.domain,
    endpoint: fake.http.origin,
  });
  await holds(
    esp,
    fake.badAddresses,
    () => fake.mails.splice(0).map(({ to, mime }) => ({ recipients: to, visible: mime })),
  );
});
