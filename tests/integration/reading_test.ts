import assert from "node:assert/strict";
import type { GroupId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { sqlState } from "../../lib/postgres/faults.ts";
import { until } from "../../services/dev/processes.ts";
import { testDatabase } from "../support/postgres.ts";
import { twoGroups } from "../support/two_groups.ts";

const role = "smtp_proxy_group";

Deno.test("reading() sees one group's rows in every statement, whoever read before on the same connection", async () => {
  await using test = await testDatabase();
  const [alpha, beta] = await twoGroups(test.ownerUrl);
  await using database = openDatabase({ url: test.urlFor(role), role, poolMax: 1 });
  for (let n = 0; n < 8; n++) {
    for (const own of [alpha, beta]) {
      const sql = database.reading(own.group as GroupId);
      const [messages, groups] = await Promise.all([
        sql<{ id: string }>`select id from messages`,
        sql<{ id: string }>`select id from groups`,
      ]);
      assert.deepEqual(messages, [{ id: own.message }]);
      assert.deepEqual(groups, [{ id: own.group }]);
      // Between them nobody is set: the setting went with its statement.
      assert.deepEqual(await database.system`select id from messages`, []);
    }
  }
});

Deno.test("reading() shows nothing of another group when that is asked for by its id", async () => {
  await using test = await testDatabase();
  const [alpha, beta] = await twoGroups(test.ownerUrl);
  await using database = openDatabase({ url: test.urlFor(role), role, poolMax: 1 });
  const sql = database.reading(alpha.group as GroupId);
  assert.deepEqual(await sql`select id from messages where id = ${beta.message}`, []);
  assert.deepEqual(await sql`select id from groups where id = ${beta.group}`, []);
});

Deno.test("reading() keeps the order of rows, and changes nothing", async () => {
  await using test = await testDatabase();
  const [alpha] = await twoGroups(test.ownerUrl);
  await using database = openDatabase({ url: test.urlFor(role), role, poolMax: 1 });
  const sql = database.reading(alpha.group as GroupId);
  const rows = await sql<{ n: number }>`
    select n from generate_series(1, 1000) n order by n % 7, n desc limit ${500}`;
  const expected = Array.from({ length: 1000 }, (_, n) => n + 1)
    .sort((a, b) => a % 7 - b % 7 || b - a).slice(0, 500);
  assert.deepEqual(rows.map(({ n }) => n), expected);
  const isRefused = (error: unknown) => sqlState(error) === "42601";
  await assert.rejects(sql`update messages set status = 'cancelled'`, isRefused);
  await assert.rejects(sql`with gone as (delete from messages returning id) select id from gone`, (error) => {
    return sqlState(error) === "0A000"; // a WITH that changes rows is for the top level alone
  });
});

Deno.test("finding() sees one group's rows in every statement, also while many share a connection", async () => {
  await using test = await testDatabase();
  const groups = await twoGroups(test.ownerUrl);
  await using database = openDatabase({ url: test.urlFor(role), role, poolMax: 1 });
  const asked = Array.from({ length: 200 }, async (_, n) => {
    const own = groups[n % 2];
    assert.ok(own);
    const sql = database.finding(own.group as GroupId);
    assert.deepEqual(await sql`select id from messages`, [{ id: own.message }]);
    // One that fails leaves the others as they were.
    if (n % 10 === 0) await assert.rejects(sql`select 1 / ${0}::int`, (error) => sqlState(error) === "22012");
    assert.deepEqual(await sql`select id from groups`, [{ id: own.group }]);
  });
  await Promise.all(asked);
});

Deno.test("finding() fails for what was under way when the server ends its connections, and then goes on", async () => {
  await using test = await testDatabase();
  const [alpha] = await twoGroups(test.ownerUrl);
  await using database = openDatabase({
    url: test.urlFor(role),
    role,
    applicationName: "finders",
    statementTimeoutMs: 600_000,
  });
  await using owner = await openSession({ url: test.ownerUrl });
  const sql = database.finding(alpha.group as GroupId);
  await sql`select 1`;
  const [first, second] = [sql`select pg_sleep(600)`, sql`select pg_sleep(600)`];
  const both = Promise.allSettled([first, second]);
  assert.equal(await until(async () => (await owner.run(sleeping)).length === 2, 60_000), true);
  await owner.run(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'finders'",
  );
  assert.deepEqual((await both).map(({ status }) => status), ["rejected", "rejected"]);
  assert.deepEqual(await sql`select id from messages`, [{ id: alpha.message }]);
});

const sleeping = `select pid from pg_stat_activity
  where application_name = 'finders' and state = 'active' and query like '%pg_sleep%'`;
