import assert from "node:assert/strict";
import fc from "fast-check";
import { type GroupId, type MessageId, newId, type UserId } from "../ids.ts";
import { sha256Of } from "./memory_body.ts";
import { hashIn, labelIn, metadataOf } from "./s3_label.ts";

const id = newId<MessageId>();
const sha256 = sha256Of(new Uint8Array([1, 2, 3]));

Deno.test("metadataOf() stays within what S3 takes, whatever the envelope, and labelIn() reads it back", () => {
  const envelope = fc.record({
    mailFrom: fc.string({ maxLength: 100, unit: "grapheme" }),
    recipients: fc.array(fc.string({ maxLength: 320, unit: "grapheme" }), { maxLength: 50 }),
  });
  fc.assert(fc.property(envelope, ({ mailFrom, recipients }) => {
    const label = { id, group: newId<GroupId>(), user: newId<UserId>(), mailFrom, recipients };
    const fields = metadataOf(label, sha256);
    const size = Object.entries(fields).reduce(
      (sum, [name, value]) => sum + name.length - 11 + value.length,
      0,
    );
    assert.ok(size <= 2048, `${size} bytes`);
    assert.match(Object.values(fields).join(""), /^[\x21-\x7e]*$/);
    const headers = new Headers(fields);
    assert.deepEqual(Uint8Array.from(hashIn(headers) ?? []), Uint8Array.from(sha256));
    const read = labelIn(headers, id);
    assert.ok(read);
    assert.deepEqual(read.recipients, recipients.slice(0, read.recipients.length));
    assert.equal(read.recipients.length + (read.leftOut ?? 0), recipients.length);
    assert.equal(read.mailFrom, mailFrom);
  }));
});

Deno.test("metadataOf() has room for the longest sender there can be", () => {
  const label = { id, group: newId<GroupId>(), user: newId<UserId>(), recipients: ["a@example.org"] };
  for (const sign of ["\u{1f4e7}", "\\", "a"]) {
    const mailFrom = sign.repeat(320);
    assert.equal(labelIn(new Headers(metadataOf({ ...label, mailFrom }, sha256)), id)?.mailFrom, mailFrom);
  }
});

Deno.test("labelIn() and hashIn() take nothing that another program wrote", () => {
  for (const value of ["", "!", "bm8=", new TextEncoder().encode('{"group":1}').toBase64()]) {
    const headers = new Headers({ "x-amz-meta-label": value, "x-amz-meta-sha256": value });
    assert.equal(labelIn(headers, id), undefined);
    assert.equal(hashIn(headers), undefined);
  }
});
