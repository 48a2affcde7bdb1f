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
