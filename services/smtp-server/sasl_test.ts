import assert from "node:assert/strict";
import { decodeLoginName, decodeLoginPassword, decodePlain } from "./sasl.ts";

function token(text: string): string {
  return new TextEncoder().encode(text).toBase64();
}

Deno.test("decodePlain() reads name and password, with or without an authorization identity", () => {
  assert.deepEqual(decodePlain(token("\0ann\0pä ss")), { username: "ann", password: "pä ss" });
  assert.deepEqual(decodePlain(token("ann\0\0p")), { username: "ann", password: "p" });
  assert.deepEqual(decodePlain(token("Ann\0ann\0p")), { username: "ann", password: "p" });
  const acting = { username: "ann", password: "p", actFor: "other" };
  assert.deepEqual(decodePlain(token("other\0ann\0p")), acting);
});

Deno.test("decodePlain() refuses what is malformed", () => {
  const bad = [
    "=",
    "",
    "!!!!",
    "YQ",
    // Of `\0dev\0dev`: without padding, with bits that are left over, cut off.
    "AGRldgBkZXY",
    "AGRldgBkZXZ=",
    "AGRldgBkZX",
    token("ann"),
    token("\0ann"),
    token("\0a\0b\0c"),
    token("\0\0p"),
    token("\0a\nb\0p"),
  ];
  for (const text of [...bad, "gICA", token(`\0${"a".repeat(256)}\0p`), token(`\0a\0${"p".repeat(1025)}`)]) {
    assert.equal(decodePlain(text), undefined, text);
  }
});

Deno.test("decodeLoginName() and decodeLoginPassword() read one value each", () => {
  assert.equal(decodeLoginName(token("ann")), "ann");
  assert.equal(decodeLoginPassword(token("p w")), "p w");
  assert.equal(decodeLoginPassword("="), "");
  for (const text of ["", "=", "%%", token("a\0b")]) assert.equal(decodeLoginName(text), undefined, text);
  assert.equal(decodeLoginPassword(token("a\0b")), undefined);
});
