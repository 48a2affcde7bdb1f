import assert from "node:assert/strict";
import { hashPassword, verifyPassword } from "./password.ts";

Deno.test("verifyPassword() accepts the password of hashPassword() and no other", async () => {
  const hash = await hashPassword("pass wörd");
  assert.match(hash, /^\$scrypt\$ln=15,r=8,p=1\$/);
  assert.equal(await verifyPassword("pass wörd", hash), true);
  assert.equal(await verifyPassword("pass word", hash), false);
  assert.equal(await verifyPassword("", hash), false);
});

Deno.test("verifyPassword() accepts a password however its letters were composed", async () => {
  assert.equal(await verifyPassword("o\u0308", await hashPassword("\u00f6")), true);
});

Deno.test("hashPassword() never gives the same hash twice", async () => {
  assert.notEqual(await hashPassword("same"), await hashPassword("same"));
});

Deno.test("verifyPassword() refuses whatever is not a hash of ours", async () => {
  for (
    const hash of ["", "plain", "$scrypt$ln=31,r=8,p=1$AAAAAAAAAAA=$AAAAAAAAAAAAAAAAAAAAAA==", "$2b$10$abc"]
  ) {
    assert.equal(await verifyPassword("plain", hash), false, hash);
  }
});

Deno.test("verifyPassword() verifies the published vector of scrypt (RFC 7914 section 12)", async () => {
  const key = Uint8Array.fromHex(
    "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2" +
      "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
  );
  const salt = btoa("SodiumChloride");
  assert.equal(
    await verifyPassword("pleaseletmein", `$scrypt$ln=14,r=8,p=1$${salt}$${key.toBase64()}`),
    true,
  );
});
