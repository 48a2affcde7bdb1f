import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { twoGroups } from "../support/two_groups.ts";

/** Acts as the owner of the functions itself, which no service can. */
async function asEvents(database: TestDatabase) {
  const session = await openSession({ url: database.ownerUrl });
  await session.run("set role smtp_proxy_events");
  return session;
}

Deno.test("reports are stored by functions of the login role alone, which see no table", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const functions = await owner.run(`
    select p.proname as name, p.prosecdef as definer, p.proconfig::text as config,
      array(select r.rolname from pg_roles r where r.rolname like 'smtp\\_proxy\\_%'
        and r.rolname not in ('smtp_proxy_owner', 'smtp_proxy_events')
        and has_function_privilege(r.oid, p.oid, 'execute') order by 1)::text[] as callers
    from pg_proc p where p.proowner = 'smtp_proxy_events'::regrole order by 1`);
  assert.deepEqual(functions.map(({ name }) => name), [
    "find_reported_calls",
    "find_webhook_provider",
    "find_webhook_providers",
    "store_events",
    "take_webhook_receipt",
  ]);
  for (const { name, definer, config, callers } of functions) {
    assert.deepEqual([definer, callers], [true, ["smtp_proxy_login"]], String(name));
    assert.match(String(config), /search_path=pg_catalog, public, pg_temp/, String(name));
  }
  for (const role of ["smtp_proxy_login", "smtp_proxy_group", "smtp_proxy_admin"] as const) {
    await using session = await openSession({ url: database.urlFor(role), role });
    await assert.rejects(session.run("select * from webhook_receipts"), { code: "42501" });
  }
});

Deno.test("whoever stores reports reads no mail, no person and no key of the API, and changes nothing else", async () => {
  await using database = await testDatabase();
  await twoGroups(database.ownerUrl);
  await using session = await asEvents(database);
  const forbidden = [
    "select body from messages",
    "select subject from messages",
    "select sender from messages",
    "select * from users",
    "select * from sessions",
    "select * from api_keys",
    "select * from groups",
    "select response_body from delivery_logs",
    "select data from delivery_events",
    "update esp_providers set enabled = false",
    "update recipients set status = 'pending'",
    "update recipients set address = 'x'",
    "update recipients set attempts = 0",
    "delete from delivery_events",
    "update messages set storage_ref = 'inline'",
    "insert into activity_logs (action, resource_type) values ('a', 'b')",
  ];
  for (const statement of forbidden) {
    await assert.rejects(session.run(statement), (error: { code?: string }) => {
      assert.equal(error.code, "42501", `${statement}: ${error}`);
      return true;
    });
  }
  // Mail that is on its way is the workers'.
  const moved = await session.run("update messages set status = 'delivered' returning id");
  assert.deepEqual(moved, []);
});

Deno.test("dropping any policy of whoever stores reports keeps it from storing, and opens nothing", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const tables = await owner.run(`select polrelid::regclass::text as name, polname from pg_policy
    where polroles @> array['smtp_proxy_events'::regrole::oid] order by 1, 2`);
  assert.deepEqual(tables.map(({ name, polname }) => `${name} ${polname}`), [
    "delivery_events events_reads",
    "delivery_events events_tells",
    "delivery_logs events_reads",
    "esp_providers events_reads",
    "messages events_reads",
    "messages events_settles",
    "recipients events_moves",
    "recipients events_reads",
    "webhook_receipts events_all",
  ]);
  const [alpha] = await twoGroups(database.ownerUrl);
  await owner.run(
    `update delivery_logs set provider_id = '${alpha.provider}' where message_id = '${alpha.message}';
    update messages set status = 'failed', failure_code = 'unknown' where id = '${alpha.message}';
    update recipients set status = 'unknown', failure_code = 'unknown' where message_id = '${alpha.message}'`,
  );
  const [call] = await owner.run(`select id from delivery_logs where message_id = '${alpha.message}'`);
  const event = JSON.stringify([{
    id: crypto.randomUUID(),
    "message_id": alpha.message,
    "call_id": call?.["id"],
    address: "b@alpha.example",
    kind: "delivered",
    "external_id": "e",
    "occurred_at": "2026-11-23T00:00:00Z",
    data: {},
    status: "delivered",
    replaces: ["unknown"],
    n: 0,
  }]);
  const outcome = async () => {
    await owner.run("savepoint before");
    let result = "failed";
    try {
      await owner.query("select store_events($1, $2)", [alpha.provider, event]);
      const [row] = await owner.run(`select m.status, r.status as recipient,
          (select count(*) from delivery_events e where e.external_id = 'e')::int as events
        from messages m join recipients r on r.message_id = m.id where m.id = '${alpha.message}'`);
      result = [row?.["status"], row?.["recipient"], row?.["events"]].join(" ");
    } catch (error) {
      assert.equal((error as { code?: string }).code, "42501");
    }
    await owner.run("rollback to before");
    return result;
  };
  await owner.run("begin");
  assert.equal(await outcome(), "delivered delivered 1");
  for (const { name, polname } of tables) {
    if (name === "esp_providers" || name === "webhook_receipts") continue;
    await owner.run(`savepoint policy; drop policy ${polname} on ${name}`);
    assert.notEqual(await outcome(), "delivered delivered 1", `${name} ${polname}`);
    await owner.run("rollback to policy");
  }
  for (
    const [name, call] of [
      [
        "esp_providers",
        "select * from find_webhook_provider('smtp', (select webhook_token from esp_providers where id = $1))",
      ],
      ["webhook_receipts", "select 1 where take_webhook_receipt($1, 't', sha256('x'))"],
    ] as const
  ) {
    assert.equal((await owner.query(call, [alpha.provider])).length, 1, name);
    await owner.run(
      `savepoint policy; drop policy ${name === "esp_providers" ? "events_reads" : "events_all"} on ${name}`,
    );
    const found = await owner.query(call, [alpha.provider]).catch((error: { code?: string }) => {
      assert.equal(error.code, "42501");
      return [];
    });
    assert.deepEqual(found, [], name);
    await owner.run("rollback to policy");
  }
  await owner.run("rollback");
});
