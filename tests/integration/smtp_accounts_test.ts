import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { UserId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { readSmtpPolicies } from "../../lib/users/smtp_accounts_table.ts";
import { accountsOf } from "../../services/smtp-server/accounts.ts";
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

function sha256(text: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(text).digest());
}
