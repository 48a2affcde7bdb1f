import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { decodedPieces } from "./transfer_encoding.ts";

function decoded(text: string | Uint8Array, encoding: string): Buffer {
  return Buffer.concat([
    ...decodedPieces(typeof text === "string" ? Buffer.from(text, "latin1") : text, encoding),
  ]);
}

/** Quoted-printable of any bytes, line ends too, in lines of at most 76 characters. */
function quoted(bytes: Uint8Array): string {
  let text = "";
  let column = 0;
  for (const byte of bytes) {
    const isPlain = byte > 32 && byte < 127 && byte !== 61;
    const piece = isPlain
      ? String.fromCharCode(byte)
      : `=${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    if (column + piece.length > 75) {
      text += "=\r\n";
      column = 0;
    }
    text += piece;
    column += piece.length;
  }
  return text;
}

Deno.test("decodedPieces() gives back any bytes, in base64, quoted-printable and as they are", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), (bytes) => {
      const base64 = Buffer.from(bytes).toString("base64").replace(/.{76}/g, "$&\r\n");
      assert.ok(decoded(base64, "base64").equals(bytes));
      assert.ok(decoded(quoted(bytes), "quoted-printable").equals(bytes));
      for (const encoding of ["", "7bit", "8bit", "binary", "x-nobody"]) {
        assert.ok(decoded(bytes, encoding).equals(bytes));
      }
    }),
  );
});

Deno.test("decodedPieces() decodes what is longer than a piece, however its lines are", () => {
  const bytes = Buffer.from(Array.from({ length: 500_000 }, (_, index) => (index * 7919) % 256));
  const base64 = bytes.toString("base64");
  assert.ok(decoded(base64, "base64").equals(bytes));
  assert.ok(decoded(base64.replace(/.{3}/g, "$&\n"), "base64").equals(bytes));
  assert.ok(decoded(base64.replace(/.{1000}/g, "$&\u00a0!"), "base64").equals(bytes));
  assert.ok(decoded(quoted(bytes), "quoted-printable").equals(bytes));
  assert.ok(decoded(quoted(bytes).replaceAll("=\r\n", ""), "quoted-printable").equals(bytes));
});

Deno.test("decodedPieces() goes on where quoted-printable is broken", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["a=", "a"],
    ["a=4", "a=4"],
    ["a=\r\n", "a"],
    ["a=\nb", "ab"],
    ["a= \t\r\nb", "ab"],
    ["a \t\r\nb", "a\r\nb"],
    ["=3d=3D", "=="],
    ["=zz==41", "=zz=A"],
    ["\n\n", "\n\n"],
    ["", ""],
  ];
  for (const [text, expected] of cases) {
    assert.equal(decoded(text, "quoted-printable").toString("latin1"), expected, JSON.stringify(text));
  }
});
