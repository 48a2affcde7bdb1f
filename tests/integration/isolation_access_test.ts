import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import type { ServiceRole } from "../../lib/postgres/service_logins.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { twoGroups } from "../support/two_groups.ts";

/** Functions owned by the access role, and who alone may call them. */
async function accessFunctions(database: TestDatabase) {
  await using session = await openSession({ url: database.ownerUrl });
  return await session.run(`
    select p.oid::regprocedure::text as name, p.prosecdef as definer, p.proconfig::text as config,
      array(select r.rolname from pg_roles r where r.rolname like 'smtp\\_proxy\\_%'
        and r.rolname not in ('smtp_proxy_owner', 'smtp_proxy_access')
        and has_function_privilege(r.oid, p.oid, 'execute') order by 1)::text[] as callers
    from pg_proc p where p.proowner = 'smtp_proxy_access'::regrole order by 1`);
}

Deno.test("what is asked before anybody is known is asked by functions of the login role alone", async () => {
  await using database = await testDatabase();
  const others: Readonly<Record<string, readonly string[]>> = {
    "end_user_sessions(uuid)": ["smtp_proxy_admin"],
    "renew_smtp_password(uuid,text,text)": ["smtp_proxy_intake"],
    "set_member_password(uuid,text,uuid,boolean)": ["smtp_proxy_group"],
    "user_is_ours_alone(uuid)": ["smtp_proxy_group"],
    "use_api_keys(uuid[])": ["smtp_proxy_intake", "smtp_proxy_login"],
    "withdraw_tokens()": [],
  };
  const functions = await accessFunctions(database);
  assert.ok(functions.length >= 20);
  for (const { name, definer, config, callers } of functions) {
    assert.deepEqual(callers, others[String(name)] ?? ["smtp_proxy_login"], String(name));
    assert.equal(definer, true, String(name));
    assert.match(String(config), /search_path=pg_catalog, public, pg_temp/, String(name));
  }
});

Deno.test("no role of the API reads a hash of a token, a password or a key, or the counters of logins", async () => {
  await using database = await testDatabase();
  const [alpha] = await twoGroups(database.ownerUrl);
  const forbidden: Readonly<Partial<Record<ServiceRole, readonly string[]>>> = {
    "smtp_proxy_group": [
      "select password_hash from users",
      "select token_hash from one_time_tokens",
      "select key_hash from api_keys",
      "select refresh_token_hash from sessions",
      "select * from auth_attempts",
      "select * from find_login('x')",
      "update users set password_hash = 'x'",
      "insert into sessions (group_id, user_id, refresh_token_hash, expires_at) select group_id, user_id, sha256('x'), now() from group_members",
    ],
    "smtp_proxy_login": [
      "select * from users",
      "select * from sessions",
      "select * from api_keys",
      "select * from groups",
      "select * from one_time_tokens",
      "select set_member_password(null, '', null, true)",
    ],
    "smtp_proxy_admin": [
      "select * from sessions",
      "select password_hash from users",
      "select * from users",
      "update users set email = password_hash",
      "update users set password_hash = password_hash || ''",
      "select 1 from users where password_hash like '$%'",
      "insert into users (email, password_hash) values ('x@y.example', 'x') returning password_hash",
      "select * from find_login('x')",
      "select find_own_password(id) from users",
      "select key_hash from api_keys",
      "select token_hash from one_time_tokens",
      "select * from auth_attempts",
      "select * from esp_providers",
      "delete from messages",
      "update messages set sender = 'x'",
      "delete from users",
    ],
  };
  for (const [role, statements] of Object.entries(forbidden)) {
    const name = role as ServiceRole;
    await using session = await openSession({ url: database.urlFor(name), role: name });
    for (const statement of statements) {
      await session.run("begin");
      await session.query("select set_config('app.current_group_id', $1, true)", [alpha.group]);
      await assert.rejects(session.run(statement), (error: { code?: string }) => {
        assert.equal(error.code, "42501", `${role}: ${statement}: ${error}`);
        return true;
      });
      await session.run("rollback");
    }
  }
});
