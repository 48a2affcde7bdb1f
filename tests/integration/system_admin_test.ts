import assert from "node:assert/strict";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { ensureSystemAdmin } from "../../lib/users/system_admin.ts";
import { testDatabase } from "../support/postgres.ts";

Deno.test("ensureSystemAdmin() creates one administrator, however many processes begin at once, and tells of it", async () => {
  await using place = await testDatabase();
  const url = place.urlFor("smtp_proxy_admin");
  await using database = openDatabase({ url, role: "smtp_proxy_admin", poolMax: 6 });
  const ensure = (hash: string) =>
    ensureSystemAdmin(database, { email: "admin@localhost", passwordHash: () => Promise.resolve(hash) });
  const made = await Promise.all(["one", "two", "three", "four"].map(ensure));
  assert.deepEqual(made.filter((isMade) => isMade), [true]);
  await using owner = await openSession({ url: place.ownerUrl });
  const hashes = () => owner.run("select id, password_hash, status from users");
  const before = await hashes();
  assert.equal(before.length, 1);
  assert.equal(await ensure("other"), false);
  await owner.run("update users set email = 'renamed@localhost'");
  assert.equal(await ensure("other"), false, "whoever is there already stays");
  assert.deepEqual(await hashes(), before);
  const told = await owner.run(`select action, resource_id, actor_id, changes from activity_logs a
    join groups g on g.id = a.group_id and g.group_type = 'system'`);
  assert.deepEqual(told, [{
    action: "admin.create_user",
    "resource_id": before[0]?.["id"],
    "actor_id": null,
    changes: { email: "admin@localhost", role: "owner", "account_type": "human" },
  }]);
});
