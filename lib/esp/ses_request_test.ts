import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import fc from "fast-check";
import type { Outgoing } from "../mime/outgoing.ts";
import { sendEmailBody } from "./ses_request.ts";

function outgoing(pieces: readonly Uint8Array[], size = Buffer.concat(pieces).length): Outgoing {
  return {
    size,
    header: new Uint8Array(0),
    bytes: () => Promise.reject(new Error("It is read piece by piece")),
    stream: async function* () {
      for (const piece of pieces) yield await Promise.resolve(piece);
    },
  };
}

Deno.test("sendEmailBody() holds the message byte for byte, however it comes in pieces, and knows its own hash", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ maxLength: 200_000 }), { maxLength: 8 }), async (pieces) => {
      const { bytes, sha256 } = await sendEmailBody(outgoing(pieces), {
        recipients: ["a@b.example"],
        tags: {},
      });
      const document = JSON.parse(Buffer.from(bytes).toString());
      assert.ok(Buffer.from(document.Content.Raw.Data, "base64").equals(Buffer.concat(pieces)));
      assert.equal(sha256, createHash("sha256").update(bytes).digest("hex"));
    }),
    { numRuns: 30 },
  );
});

Deno.test("sendEmailBody() names recipients where nobody sees them, and From only when it is given", async () => {
  const message = outgoing([Buffer.from("x")]);
  const read = async (envelope: Parameters<typeof sendEmailBody>[1]) =>
    JSON.parse(Buffer.from((await sendEmailBody(message, envelope)).bytes).toString());
  assert.deepEqual(
    await read({ recipients: ["a@b.example", 'q"\\\u00fc\u0001@c.example'], tags: { "a-b": "c" } }),
    {
      Destination: { BccAddresses: ["a@b.example", 'q"\\\u00fc\u0001@c.example'] },
      EmailTags: [{ Name: "a-b", Value: "c" }],
      Content: { Raw: { Data: "eA==" } },
    },
  );
  const more = await read({
    recipients: ["a@b.example"],
    tags: {},
    from: "x@y.example",
    configurationSet: "set",
  });
  assert.equal(more.FromEmailAddress, "x@y.example");
  assert.equal(more.ConfigurationSetName, "set");
});

Deno.test("sendEmailBody() fails when the message has more or fewer bytes than it says", async () => {
  const envelope = { recipients: ["a@b.example"], tags: {} };
  for (const size of [1, 8]) {
    await assert.rejects(
      sendEmailBody(outgoing([Buffer.from("12345")], size), envelope),
      /bytes than it says/,
    );
  }
});
