import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { decodedText, Utf8Watch } from "./charset.ts";

function cut(bytes: Uint8Array, length: number): readonly Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += length) pieces.push(bytes.subarray(at, at + length));
  return pieces;
}

Deno.test("decodedText() reads UTF-8 that is not declared, wherever it is cut", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), fc.integer({ min: 1, max: 9 }), (text, length) => {
      const pieces = cut(Buffer.from(text), length);
      assert.equal([...decodedText(() => pieces, undefined)].join(""), text.replace(/^\ufeff/, ""));
      assert.equal([...decodedText(() => pieces, "utf-8")].join(""), text.replace(/^\ufeff/, ""));
    }),
  );
});

Deno.test("decodedText() takes other bytes for Windows-1252 where no charset says otherwise", () => {
  const read = (bytes: readonly number[], charset?: string) =>
    [...decodedText(() => [Uint8Array.from(bytes)], charset)].join("");
  assert.equal(read([0x80, 0xfc]), "€ü");
  assert.equal(read([0xc3]), "Ã");
  assert.equal(read([0x80], "no-such-charset"), "€");
  assert.equal(read([0xe4], "ISO-8859-7"), "δ");
});

Deno.test("Utf8Watch sees what is UTF-8 as a decoder does", () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.integer({ min: 1, max: 5 }), (bytes, length) => {
      const watch = new Utf8Watch();
      for (const piece of cut(bytes, length)) watch.look(piece);
      assert.equal(watch.isWhole, isUtf8(bytes));
    }),
    { examples: [[Uint8Array.from([0xf0, 0x9f, 0x98, 0x80]), 3], [Uint8Array.from([0xf0, 0x9f, 0x98]), 1]] },
  );
});

function isUtf8(bytes: Uint8Array): boolean {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes) !== undefined;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}
