import assert from "node:assert/strict";
import fc from "fast-check";
import type { GroupId, MessageId, UserId } from "../ids.ts";
import { sha256Of } from "./memory_body.ts";
import type { BodyLabel } from "./message_store.ts";
import {
  encodeHeader,
  fixedSize,
  hasRecord,
  headerSize,
  parseFixed,
  parseLabel,
  parsePrefix,
  prefixSize,
} from "./segment_format.ts";

function labelOf(mailFrom: string, recipients: readonly string[]): BodyLabel {
  const id = "01890a5d-ac96-774b-bcce-b302099a8057";
  return { id: id as MessageId, group: "g" as GroupId, user: "u" as UserId, mailFrom, recipients };
}

function parse(header: Uint8Array) {
  const prefix = parsePrefix(header);
  if (!prefix) return undefined;
  const label = parseLabel(header.subarray(prefixSize, prefixSize + prefix.size), prefix.crc);
  const facts = parseFixed(header.subarray(prefixSize + prefix.size));
  return label && facts && { label, facts };
}

const facts = { size: 12_345_678_901, sha256: sha256Of(new Uint8Array(3)), storedAtMs: 1_790_000_000_123 };

Deno.test("encodeHeader() keeps label and facts, in the size that headerSize() foretells", () => {
  const text = fc.string({ unit: "grapheme" });
  fc.assert(fc.property(text, fc.array(text), (mailFrom, recipients) => {
    const label = labelOf(mailFrom, recipients);
    const header = encodeHeader(label, facts);
    assert.equal(header.length, headerSize(label));
    const parsed = parse(header);
    assert.deepEqual(parsed?.label, label);
    assert.deepEqual({ ...parsed?.facts, sha256: parsed?.facts.sha256.toHex() }, {
      ...facts,
      sha256: facts.sha256.toHex(),
    });
  }));
});

Deno.test("parsing a header notices every flipped bit that matters", () => {
  const header = encodeHeader(labelOf("a@example.com", ["b@example.org"]), facts);
  for (let at = 0; at < header.length - 4; at++) {
    const damaged = header.slice();
    damaged[at] = (damaged[at] ?? 0) ^ 0x10;
    assert.equal(parse(damaged), undefined, `byte ${at}`);
  }
});

Deno.test("parsing a header notices every missing byte", () => {
  const header = encodeHeader(labelOf("a@example.com", ["b@example.org"]), facts);
  for (let length = 0; length < header.length; length++) {
    assert.equal(parse(header.subarray(0, length)), undefined);
  }
  assert.equal(parseFixed(new Uint8Array(fixedSize)), undefined);
});

Deno.test("encodeHeader() refuses an envelope that no reader would believe", () => {
  assert.throws(() => encodeHeader(labelOf("x".repeat(5 << 20), []), facts), /Cannot store a body/);
});

Deno.test("hasRecord() finds where a record begins, and only that", () => {
  const bytes = new Uint8Array(1000).fill(0x93);
  assert.equal(hasRecord(bytes), false);
  bytes.set(encodeHeader(labelOf("", []), facts), 500);
  assert.equal(hasRecord(bytes), true);
});
