import assert from "node:assert/strict";
import { openDatabase, openSession, quoteName, type Session } from "../../lib/postgres/database.ts";
import type { ServiceRole } from "../../lib/postgres/service_logins.ts";
import { migrateUp } from "../../lib/postgres/migrate.ts";
import { examineDatabase } from "../../lib/postgres/readiness.ts";
import { migrations } from "../../migrations/mod.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { type GroupRows, twoGroups } from "../support/two_groups.ts";

/** Tables whose rows belong to a group, and whether the group role may read them at all. */
const groupTables = {
  "group_members": true,
  "api_keys": true,
  "esp_providers": true,
  "provider_state": true,
  "routing_rules": true,
  "routing_rule_providers": true,
  usage: true,
  "usage_daily": true,
  sessions: true,
  "one_time_tokens": true,
  "activity_logs": true,
  messages: true,
  recipients: true,
  "delivery_logs": true,
  "delivery_events": true,
  "refused_submissions": true,
  suppressions: true,
};

/** Logs in as the service that acts as the role and switches to it, as the service does. */
function asRole(database: TestDatabase, role: ServiceRole): Promise<Session> {
  return openSession({ url: database.urlFor(role), role });
}

async function inGroup<T>(session: Session, group: string, work: () => Promise<T>): Promise<T> {
  await session.run("begin");
  try {
    await session.query("select set_config('app.current_group_id', $1, true)", [group]);
    return await work();
  } finally {
    await session.run("rollback");
  }
}

async function denied(work: Promise<unknown>, states: readonly string[] = ["42501"]): Promise<void> {
  await assert.rejects(work, (error: { code?: string }) => {
    assert.ok(states.includes(error.code ?? ""), `expected ${states}, got ${error.code}: ${error}`);
    return true;
  });
}

Deno.test("every table that holds a group's rows, partitions included, forces row-level security", async () => {
  await using database = await testDatabase();
  await using session = await openSession({ url: database.ownerUrl });
  const rows = await session.run(`
    select c.relname as name, c.relrowsecurity and c.relforcerowsecurity as forced, c.relispartition as partition,
      (select count(*) from pg_policy p where p.polrelid = c.oid)::int as policies,
      pg_get_userbyid(c.relowner) as owner
    from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'group_id' and not a.attisdropped
    where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and c.relname not like 'queue%'`);
  const names = rows.map((row) => row["name"]);
  for (const table of Object.keys(groupTables)) assert.ok(names.includes(table), table);
  assert.ok(rows.filter((row) => row["partition"]).length >= 4 * 4);
  for (const row of rows) {
    assert.equal(row["forced"], true, `${row["name"]} does not force row-level security`);
    assert.equal(row["owner"], "smtp_proxy_owner", String(row["name"]));
    if (!row["partition"]) assert.ok(Number(row["policies"]) > 0, `${row["name"]} has no policy`);
  }
});

Deno.test("no service role may log in, owns anything or bypasses row-level security", async () => {
  await using database = await testDatabase();
  await using session = await openSession({ url: database.ownerUrl });
  const roles = await session.run(`
    select rolname, rolcanlogin or rolsuper or rolbypassrls or rolcreaterole or rolcreatedb as mighty,
      rolname <> 'smtp_proxy_owner' and exists (
        select from pg_class c where c.relowner = r.oid and c.relkind in ('r', 'p', 'S')) as owns
    from pg_roles r where rolname like 'smtp\\_proxy\\_%'`);
  assert.ok(roles.length >= 8);
  for (const role of roles) {
    assert.equal(role["mighty"], false, String(role["rolname"]));
    assert.equal(role["owns"], false, String(role["rolname"]));
  }
});

Deno.test("the group role sees its own group's rows and nothing without a group", async () => {
  await using database = await testDatabase();
  const [alpha, beta] = await twoGroups(database.ownerUrl);
  await using session = await asRole(database, "smtp_proxy_group");
  for (const table of Object.keys(groupTables)) {
    const none = await session.run(`select group_id from ${table}`);
    assert.deepEqual(none, [], `${table} shows rows although no group is set`);
    for (const own of [alpha, beta]) {
      const rows = await inGroup(session, own.group, () => session.run(`select group_id from ${table}`));
      assert.deepEqual(rows, [{ group_id: own.group }], table);
    }
  }
  for (const own of [alpha, beta]) {
    const groups = await inGroup(session, own.group, () => session.run("select id from groups"));
    assert.deepEqual(groups, [{ id: own.group }]);
    const users = await inGroup(session, own.group, () => session.run("select id from users"));
    assert.deepEqual(users, [{ id: own.user }]);
  }
  assert.deepEqual(await session.run("select id from groups"), [], "the setting ends with its transaction");
});

Deno.test("the group role cannot write into another group, by insert, update or reference", async () => {
  await using database = await testDatabase();
  const [alpha, beta] = await twoGroups(database.ownerUrl);
  await using session = await asRole(database, "smtp_proxy_group");
  const attacks: readonly (readonly [string, readonly string[]])[] = [
    [`insert into esp_providers (group_id, name, provider_type) values ('${beta.group}', 'x', 'smtp')`, [
      "42501",
    ]],
    [`update esp_providers set group_id = '${beta.group}'`, ["42501"]],
    [`insert into routing_rules (group_id) values ('${beta.group}')`, ["42501"]],
    [
      `insert into routing_rule_providers (group_id, rule_id, position, provider_id)
        values ('${alpha.group}', '${alpha.rule}', 2, '${beta.provider}')`,
      ["23503"],
    ],
    [
      `insert into api_keys (group_id, user_id, name, prefix, key_hash)
        values ('${alpha.group}', '${beta.user}', 'x', 'sp_x', sha256('x'))`,
      ["23503"],
    ],
    [
      `insert into group_members (group_id, user_id, account_type) values ('${alpha.group}', '${beta.user}', 'smtp')`,
      ["42501"],
    ],
    [`insert into activity_logs (group_id, action, resource_type) values ('${beta.group}', 'a', 'b')`, [
      "42501",
    ]],
    [`insert into activity_logs (action, resource_type) values ('a', 'b')`, ["42501"]],
    [`update messages set group_id = '${beta.group}'`, ["42501"]],
    [`insert into suppressions (group_id, address, reason) values ('${beta.group}', 'a@b.c', 'manual')`, [
      "42501",
    ]],
    [`update suppressions set group_id = '${beta.group}'`, ["42501"]],
    [`update groups set has_suppressions = false`, ["42501"]],
    [`delete from refused_submissions`, ["42501"]],
    [`update refused_submissions set group_id = '${beta.group}'`, ["42501"]],
    [`insert into refused_submissions (id) values (uuidv7())`, ["42501"]],
    [`update groups set monthly_limit = 0`, ["42501"]],
    [`update groups set status = 'suspended'`, ["42501"]],
    [`update usage set messages = 0`, ["42501"]],
    [`update usage_daily set messages = 0`, ["42501"]],
    [`delete from usage_daily`, ["42501"]],
    [`insert into usage_weeks (week, starts, ends) values ('x', uuidv7(), uuidv7())`, ["42501"]],
    [`select count_week('x', 1)`, ["42501"]],
    [`select password_hash from users`, ["42501"]],
    [`select * from auth_attempts`, ["42501"]],
    [`select * from queue_entries`, ["42501"]],
    [`delete from messages`, ["42501"]],
    [`truncate recipients`, ["42501"]],
    [`alter table messages disable row level security`, ["42501"]],
    [`set role smtp_proxy_admin_not`, ["22023", "42704"]],
  ];
  for (const [attack, states] of attacks) {
    await denied(inGroup(session, alpha.group, () => session.run(attack)), states);
  }
  await changesNothing(session, alpha, beta);
});

async function changesNothing(session: Session, alpha: GroupRows, beta: GroupRows): Promise<void> {
  const updates = [
    `update esp_providers set name = 'mine' where id = '${beta.provider}' returning id`,
    `update users set status = 'suspended' where id = '${beta.user}' returning id`,
    `update groups set name = 'mine' where id = '${beta.group}' returning id`,
    `update messages set status = 'cancelled' where id = '${beta.message}' returning id`,
    `delete from sessions where user_id = '${beta.user}' returning id`,
    `delete from suppressions where group_id = '${beta.group}' returning id`,
    `delete from api_keys where user_id = '${beta.user}' returning id`,
  ];
  for (const update of updates) {
    assert.deepEqual(await inGroup(session, alpha.group, () => session.run(update)), [], update);
  }
}

Deno.test("the intake role takes mail in and reads no secrets, bodies or providers", async () => {
  await using database = await testDatabase();
  const [alpha] = await twoGroups(database.ownerUrl);
  await using session = await asRole(database, "smtp_proxy_intake");
  assert.equal((await session.run("select id, password_hash from users")).length, 2);
  assert.equal((await session.run("select id, status, content_hash from messages")).length, 2);
  const forbidden = [
    "select * from esp_providers",
    "select * from provider_state",
    "select * from routing_rules",
    "select * from sessions",
    "select * from usage_daily",
    "select * from activity_logs",
    "select * from delivery_logs",
    "select * from recipients",
    "select * from refused_submissions",
    "delete from refused_submissions",
    "select * from suppressions",
    "select email from users",
    "select body from messages",
    "select sender from messages",
    "update users set status = 'active'",
    "update groups set monthly_limit = 0",
    "update messages set sender = 'x'",
    "delete from messages",
    "select * from workers",
  ];
  for (const statement of forbidden) await denied(session.run(statement));
  const moved = await session.run(
    `update messages set status = 'enqueue_failed' where id = '${alpha.message}' returning id`,
  );
  assert.equal(moved.length, 1);
  await denied(session.run(`update messages set status = 'delivered' where id = '${alpha.message}'`));
});

Deno.test("the intake role cannot touch a message that has left the queue", async () => {
  await using database = await testDatabase();
  const [alpha] = await twoGroups(database.ownerUrl);
  await using owner = await openSession({ url: database.ownerUrl });
  await owner.run(`update messages set status = 'delivered' where id = '${alpha.message}'`);
  await using session = await asRole(database, "smtp_proxy_intake");
  const rows = await session.run(
    `update messages set status = 'enqueue_failed' where id = '${alpha.message}' returning id`,
  );
  assert.deepEqual(rows, []);
});

Deno.test("the worker role delivers and knows no users, sessions or keys", async () => {
  await using database = await testDatabase();
  await twoGroups(database.ownerUrl);
  await using session = await asRole(database, "smtp_proxy_worker");
  for (const table of ["messages", "recipients", "delivery_logs", "esp_providers", "routing_rules"]) {
    assert.equal((await session.run(`select group_id from ${table}`)).length, 2, table);
  }
  const forbidden = [
    "select * from users",
    "select * from group_members",
    "select * from sessions",
    "select * from api_keys",
    "select * from usage",
    "select name from groups",
    "select action from activity_logs",
    "update activity_logs set comment = 'x'",
    "select key_hash from api_keys",
    "update api_keys set revoked_at = null",
    "select note from suppressions",
    "delete from suppressions",
    "select account from refused_submissions",
    "update refused_submissions set times = 1",
    "update groups set status = 'active'",
    "update esp_providers set enabled = false",
    "update messages set sender = 'x'",
    "update recipients set address = 'x'",
    "delete from messages",
    "delete from recipients",
  ];
  for (const statement of forbidden) await denied(session.run(statement));
});

Deno.test("the login role reads no table at all", async () => {
  await using database = await testDatabase();
  await twoGroups(database.ownerUrl);
  await using session = await asRole(database, "smtp_proxy_login");
  for (const table of ["groups", "users", "messages", ...Object.keys(groupTables)]) {
    await denied(session.run(`select 1 from ${table}`));
  }
});

Deno.test("the schema holds what must always be true", async () => {
  await using database = await testDatabase();
  const [alpha, beta] = await twoGroups(database.ownerUrl);
  await using session = await openSession({ url: database.ownerUrl });
  const broken: readonly (readonly [string, string])[] = [
    [`insert into groups (name, group_type) values ('one', 'system'), ('two', 'system')`, "23505"],
    [`insert into groups (name, group_type, status) values ('s', 'system', 'suspended')`, "23514"],
    [`update groups set status = 'gone'`, "23514"],
    [`update users set account_type = 'robot'`, "23514"],
    [
      `insert into group_members (group_id, user_id, account_type) values ('${beta.group}', '${alpha.user}', 'smtp')`,
      "23505",
    ],
    [
      `insert into group_members (group_id, user_id, account_type) values ('${beta.group}', '${alpha.user}', 'human')`,
      "23503",
    ],
    [`insert into users (email, username, account_type) values ('n@x.example', 'n', 'smtp')`, "23514"],
    [
      `insert into users (email, username, account_type) values ('ALPHA@smtp.internal', 'm', 'smtp')`,
      "23505",
    ],
    [`insert into users (email, username, account_type) values ('p@x.example', 'ALPHA', 'smtp')`, "23505"],
    [`update messages set status = 'sent'`, "23514"],
    [`update messages set status = 'failed'`, "23514"],
    [`update messages set status = 'processing'`, "23514"],
    [`update messages set storage_ref = 'ftp:x', body = null`, "23514"],
    [`update recipients set status = 'lost'`, "23514"],
    [`update delivery_logs set status = 'maybe'`, "23514"],
    [`delete from groups`, "23503"],
    [`delete from users`, "23503"],
    [
      `insert into recipients (message_id, position, group_id, address)
        values ('${alpha.message}', 2, '${beta.group}', 'x@y.example')`,
      "23503",
    ],
    [`insert into usage (group_id, month) values ('${alpha.group}', '2026-11-02')`, "23514"],
  ];
  for (const [statement, state] of broken) {
    await denied(session.run(`begin; ${statement}; commit`), [state]);
    await session.run("rollback");
  }
});

Deno.test("no temporary table stands before a table of ours in a function that acts for others", async () => {
  await using database = await testDatabase();
  const [alpha, beta] = await twoGroups(database.ownerUrl);
  await using owner = await openSession({ url: database.ownerUrl });
  const [definer, safe] = await Promise.all([
    owner.run("select proname from pg_proc where prosecdef and pronamespace = 'public'::regnamespace"),
    owner.run(`select proname from pg_proc where prosecdef and pronamespace = 'public'::regnamespace
      and exists (select from unnest(proconfig) c where c ~ '^search_path=.*, pg_temp$')`),
  ]);
  assert.ok(definer.length >= 4);
  for (const name of ["require_smtp_membership", "user_is_unattached", "raise_group_revision"]) {
    assert.ok(safe.some((row) => row["proname"] === name), name);
  }
  await owner.run(`grant temporary on database ${quoteName(database.name)} to public`);
  await using session = await asRole(database, "smtp_proxy_group");
  await session.run(`create temp table groups (id uuid, revision bigint, updated_at timestamptz);
    insert into pg_temp.groups values ('${alpha.group}', 1), ('${beta.group}', 1);
    grant all on pg_temp.groups to public`);
  const before = await owner.run(`select revision from groups where id = '${alpha.group}'`);
  await session.run("begin");
  await session.query("select set_config('app.current_group_id', $1, true)", [alpha.group]);
  await session.run(`update esp_providers set name = 'other'; commit`);
  const caught = await session.run("select revision from pg_temp.groups where revision > 1");
  assert.deepEqual(caught, [], "the trigger wrote to the temporary table");
  const after = await owner.run(`select revision from groups where id = '${alpha.group}'`);
  assert.ok(Number(after[0]?.["revision"]) > Number(before[0]?.["revision"]));
});

Deno.test("migrating takes temporary tables from everybody", async () => {
  await using database = await testDatabase({ empty: true });
  await migrateUp({ url: database.ownerUrl, migrations });
  await using session = await asRole(database, "smtp_proxy_intake");
  await denied(session.run("create temp table groups (id uuid)"));
});

Deno.test("an SMTP account cannot be left without a group by removing its membership", async () => {
  await using database = await testDatabase();
  const [alpha] = await twoGroups(database.ownerUrl);
  await using session = await asRole(database, "smtp_proxy_group");
  const leave = async (before: string) => {
    await session.run("begin");
    await session.query("select set_config('app.current_group_id', $1, true)", [alpha.group]);
    await session.run(`${before}delete from group_members; commit`);
  };
  await denied(leave(""), ["23514"]);
  await session.run("rollback");
  await leave("update users set status = 'deleted'; ");
});

Deno.test("a login that may become an owner of tables or a superuser is found", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const name = `climber_${crypto.randomUUID().slice(0, 8)}`;
  const url = new URL(database.ownerUrl);
  url.username = name;
  const problems = async () => {
    await using climber = openDatabase({ url: url.href, role: "smtp_proxy_worker" });
    const range = { oldest: 1, newest: 1000 };
    return await examineDatabase(climber, range, { development: false, durable: false });
  };
  await owner.run(`create role ${name} login password '${url.password}'; grant smtp_proxy_worker to ${name}`);
  try {
    assert.deepEqual(await problems(), []);
    await owner.run(`grant smtp_proxy_owner to ${name} with inherit false`);
    assert.deepEqual((await problems()).map(({ severity }) => severity), ["refuse"]);
    await owner.run(`revoke smtp_proxy_owner from ${name}; create role ${name}_root superuser;
      grant ${name}_root to ${name} with inherit false`);
    assert.deepEqual((await problems()).map(({ severity }) => severity), ["refuse"]);
  } finally {
    await owner.run(`drop role if exists ${name}, ${name}_root`);
  }
});
