import assert from "node:assert/strict";
import { PasswordVerifier } from "../../lib/users/password_verifier.ts";

// "U*U" hashed with cost 5, as published with crypt_blowfish.
const hash = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";

Deno.test("PasswordVerifier leaves nobody waiting when it is closed", async () => {
  using passwords = new PasswordVerifier();
  const given = [passwords.verify("U*U", hash), passwords.verify("U*V", hash)];
  passwords[Symbol.dispose]();
  for (const one of await Promise.allSettled(given)) {
    assert.ok(one.status === "rejected");
    assert.match(String(one.reason), /Cannot use the thread bcrypt: it was ended/);
  }
  await assert.rejects(passwords.verify("U*U", hash), /it was ended/);
});

Deno.test("PasswordVerifier tells the right password from a wrong one by a hash of bcrypt", async () => {
  using passwords = new PasswordVerifier();
  assert.equal(await passwords.verify("U*U", hash), true);
  assert.equal(await passwords.verify("U*V", hash), false);
});
