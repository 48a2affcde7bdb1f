import assert from "node:assert/strict";
import { openSession, type Session } from "../../lib/postgres/database.ts";
import type { ServiceRole } from "../../lib/postgres/service_logins.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { twoGroups } from "../support/two_groups.ts";

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

Deno.test("administrators see the refusals of nobody's, and no group's but as the group; policies decide both", async () => {
  await using database = await testDatabase();
  const [alpha] = await twoGroups(database.ownerUrl);
  await using owner = await openSession({ url: database.ownerUrl });
  await owner.run(
    `insert into refused_submissions (id, account, command, code, reason, reply, correlation_id, times,
    first_at, last_at) values (uuidv7(), 'nobody', 'AUTH', 535, 'credentials_wrong', 'No', 'c', 1, now(), now())`,
  );
  await using admin = await asRole(database, "smtp_proxy_admin");
  await using group = await asRole(database, "smtp_proxy_group");
  await using worker = await asRole(database, "smtp_proxy_worker");
  const seen = (session: Session) => session.run("select group_id from refused_submissions");
  assert.deepEqual(await seen(admin), [{ "group_id": null }]);
  assert.deepEqual(await inGroup(group, alpha.group, () => seen(group)), [{ "group_id": alpha.group }]);
  assert.equal((await seen(worker)).length, 3);
  await assert.rejects(admin.run("select * from suppressions"), { code: "42501" });
  for (
    const [name, table, session] of [
      ["nobodys", "refused_submissions", admin],
      ["worker_looks", "refused_submissions", worker],
      ["worker_reads", "suppressions", worker],
    ] as const
  ) {
    await owner.run(`drop policy ${name} on ${table}`);
    assert.deepEqual(await session.run(`select group_id from ${table}`), [], name);
  }
  for (const table of ["refused_submissions", "suppressions"]) {
    await owner.run(`drop policy own_group on ${table}`);
    const rows = await inGroup(group, alpha.group, () => group.run(`select group_id from ${table}`));
    assert.deepEqual(rows, [], table);
  }
});

Deno.test("find_activities() gives a group its own rows whatever it asks with, and no service's role but two anything", async () => {
  await using database = await testDatabase();
  const [alpha, beta] = await twoGroups(database.ownerUrl);
  await using owner = await openSession({ url: database.ownerUrl });
  await owner.run("truncate activity_logs");
  for (const group of [`'${alpha.group}'`, `'${beta.group}'`, "null"]) {
    await owner.run(
      `insert into activity_logs (group_id, action, resource_type) values (${group}, 'thing.make', 'thing')`,
    );
  }
  const find = async (session: Session, own: string | null, action: string | null = null) => {
    const found = await session.query(
      `select group_id from find_activities($1, 'ffffffff-ffff-ffff-ffff-ffffffffffff',
        '00000000-0000-0000-0000-000000000000', 50, 0, $2, null, null, null)`,
      [own, action],
    );
    return found.map((row) => row["group_id"]);
  };
  await using admin = await asRole(database, "smtp_proxy_admin");
  assert.deepEqual(new Set(await find(admin, null)), new Set([alpha.group, beta.group, null]));
  assert.deepEqual(await find(admin, beta.group), [beta.group]);
  await using group = await asRole(database, "smtp_proxy_group");
  const asked = (own: string | null, action?: string) =>
    inGroup(group, alpha.group, () => find(group, own, action));
  assert.deepEqual(await asked(alpha.group), [alpha.group]);
  assert.deepEqual(await asked(null), [alpha.group]);
  assert.deepEqual(await asked(beta.group), []);
  assert.deepEqual(await asked(null, "x' or true or 'x' = 'x"), []);
  assert.deepEqual(await find(group, null), [], "nobody's group sees nothing");
  for (const role of ["smtp_proxy_login", "smtp_proxy_intake", "smtp_proxy_worker"] as const) {
    await using other = await asRole(database, role);
    await assert.rejects(find(other, null), { code: "42501" }, role);
  }
});
