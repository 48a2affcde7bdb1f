import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { testDatabase } from "../support/postgres.ts";

Deno.test("testDatabase() gives each caller a migrated database of its own", async () => {
  await using one = await testDatabase();
  await using other = await testDatabase();
  await using session = await openSession({ url: one.ownerUrl });
  assert.equal((await session.run("select * from schema_migrations")).length > 0, true);
  assert.deepEqual(await session.run("select current_database()"), [{ "current_database": one.name }]);
  assert.notEqual(one.name, other.name);
});

Deno.test("testDatabase() logs in as the service that acts as a role", async () => {
  await using database = await testDatabase();
  for (
    const [role, login] of [
      ["smtp_proxy_intake", "smtp_server"],
      ["smtp_proxy_worker", "queue_worker"],
      ["smtp_proxy_group", "api_server"],
      ["smtp_proxy_login", "api_server"],
      ["smtp_proxy_admin", "api_server"],
    ] as const
  ) {
    await using session = await openSession({ url: database.urlFor(role), role });
    assert.deepEqual(await session.run("select session_user as login, current_user as role"), [{
      login,
      role,
    }]);
  }
});

Deno.test("testDatabase() with `empty` has no schema", async () => {
  await using database = await testDatabase({ empty: true });
  await using session = await openSession({ url: database.ownerUrl });
  assert.deepEqual(await session.run("select to_regclass('schema_migrations') as found"), [{ found: null }]);
});
