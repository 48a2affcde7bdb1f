import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { newId, type UserId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { readSmtpPolicies, renewSmtpPassword } from "../../lib/users/smtp_accounts_table.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { PasswordVerifier } from "../../lib/users/password_verifier.ts";
import { accountsOf } from "../../services/smtp-server/accounts.ts";
import { Credentials } from "../../services/smtp-server/credentials.ts";
import { Throttle } from "../../services/smtp-server/throttle.ts";
import { testDatabase } from "../support/postgres.ts";
import { twoGroups } from "../support/two_groups.ts";

Deno.test("accounts come with their networks and with the end of the key that was used", async () => {
  await using place = await testDatabase();
  const [alpha, beta] = await twoGroups(place.ownerUrl);
  const end = Date.UTC(2126, 0, 1);
  await using owner = await openSession({ url: place.ownerUrl });
  await owner.run(`update groups set allowed_ips = '{192.0.2.0/24}' where id = '${alpha.group}'`);
  await owner.run(
    `update api_keys set expires_at = '${new Date(end).toISOString()}' where user_id = '${alpha.user}'`,
  );
  await using database = openDatabase({
    url: place.urlFor("smtp_proxy_intake"),
    role: "smtp_proxy_intake",
  });
  const accounts = accountsOf(database, (error) => assert.fail(String(error)));
  const [first, second] = await Promise.all(
    ["alpha", "beta"].map((name) => accounts.findByApiKey(sha256(name))),
  );
  assert.deepEqual([first?.user, first?.expiresAtMs], [alpha.user, end]);
  assert.deepEqual([second?.user, second?.expiresAtMs], [beta.user, undefined]);
  assert.equal((await accounts.findByUsername("ALPHA"))?.expiresAtMs, undefined);
  const users = [alpha.user as UserId, beta.user as UserId];
  const policies = await readSmtpPolicies(database.system, users);
  assert.deepEqual(users.map((user) => policies.get(user)?.allowedIps), [["192.0.2.0/24"], null]);
  await owner.run(`update users set status = 'suspended' where id = '${beta.user}';
    update api_keys set last_used_at = null where user_id = '${beta.user}'`);
  await accounts.findByApiKey(sha256("beta"));
  const used = await owner.run(
    "select last_used_at > now() - interval '1 hour' as lately from api_keys order by id",
  );
  assert.deepEqual(used.map((row) => row["lately"]), [true, null], "a key that lets nobody in was not used");
});

Deno.test("a bcrypt hash of an older installation lets its SMTP account in and is replaced, and no other hash is", async () => {
  await using place = await testDatabase();
  const [, beta] = await twoGroups(place.ownerUrl);
  await using owner = await openSession({ url: place.ownerUrl });
  // "U*U" hashed with cost 5, as published with crypt_blowfish.
  const old = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
  await owner.query("update users set password_hash = $1 where id = $2", [old, beta.user]);
  await using database = openDatabase({
    url: place.urlFor("smtp_proxy_intake"),
    role: "smtp_proxy_intake",
  });
  const accounts = accountsOf(database, (error) => assert.fail(String(error)));
  using passwords = new PasswordVerifier();
  const open = () =>
    new Credentials({
      accounts: { ...accounts, policyOf: () => assert.fail("nobody asks for a policy") },
      throttle: new Throttle({ record: () => {}, hasSucceeded: () => Promise.resolve(false) }),
      verifyPassword: (password, hash) => passwords.verify(password, hash),
      dummyHash: "",
      apiKeyHash: () => undefined,
      now: Date.now,
      failAfterMs: 0,
    });
  const wrong = open().authenticate("beta", "U*V", "192.0.2.1");
  await assert.rejects(wrong, { code: "credentials_wrong" });
  const row = async (user: string) =>
    (await owner.query("select password_hash, revision::text from users where id = $1", [user]))[0];
  assert.equal((await row(beta.user))?.["password_hash"], old);
  for (let time = 0; time < 2; time++) {
    const { revision } = await open().authenticate("beta", "U*U", "192.0.2.1");
    const now = await row(beta.user);
    assert.match(String(now?.["password_hash"]), /^\$scrypt\$/);
    assert.equal(revision, now?.["revision"]);
  }
  // Neither one of today nor that of a person, and none by what is no hash of today.
  const today = String((await row(beta.user))?.["password_hash"]);
  await renewSmtpPassword(database.system, beta.user as UserId, today, "stolen");
  assert.equal((await row(beta.user))?.["password_hash"], today);
  const person = newId<UserId>();
  await owner.query("insert into users (id, email, password_hash) values ($1, 'old@alpha.example', $2)", [
    person,
    old,
  ]);
  await renewSmtpPassword(database.system, person, old, "stolen");
  assert.equal((await row(person))?.["password_hash"], old);
  await owner.query("update users set password_hash = $1 where id = $2", [old, beta.user]);
  await renewSmtpPassword(database.system, beta.user as UserId, old, old);
  await renewSmtpPassword(database.system, beta.user as UserId, old, "stolen");
  assert.equal((await row(beta.user))?.["password_hash"], old);
});

Deno.test("accountsOf() renews nobody's hash by a password that was changed while it was verified", async () => {
  await using place = await testDatabase();
  const [, beta] = await twoGroups(place.ownerUrl);
  await using owner = await openSession({ url: place.ownerUrl });
  const set = (hash: string) =>
    owner.query("update users set password_hash = $1 where id = $2", [hash, beta.user]);
  await set("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW");
  await using database = openDatabase({
    url: place.urlFor("smtp_proxy_intake"),
    role: "smtp_proxy_intake",
  });
  const accounts = accountsOf(database, (error) => assert.fail(String(error)));
  const verified = await accounts.findByUsername("beta");
  assert.ok(verified);
  const elsewhere = await hashPassword("U*U");
  await set(elsewhere);
  const renewed = await accounts.renew(verified, "U*U");
  assert.equal(renewed?.passwordHash, elsewhere, "another process renewed it");
  assert.notEqual(renewed?.revision, verified.revision);
  await set(await hashPassword("another"));
  assert.equal(await accounts.renew(verified, "U*U"), undefined);
  await owner.query("update users set password_hash = null where id = $1", [beta.user]);
  assert.equal((await accounts.renew(verified, "U*U"))?.passwordHash, undefined);
});

function sha256(text: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(text).digest());
}
