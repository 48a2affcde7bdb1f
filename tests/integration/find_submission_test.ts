import assert from "node:assert/strict";
import { openSession, type Session } from "../../lib/postgres/database.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { makeAccount, type TestAccount } from "../support/submissions.ts";

const others = 5000;

/** Messages of one account by the hundred, each of a submission of its own. */
async function fill(owner: Session, { group, user }: TestAccount): Promise<void> {
  await owner.run(`insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash,
      submission_hash, storage_ref, next_attempt_at, correlation_id, enqueued_at)
    select uuidv7(), '${group}', '${user}', 'a@example.com', 1, 1, sha256('x'), sha256(n::text::bytea), 'local:x#0+1',
      now(), 'test', now() from generate_series(1, ${others}) n`);
}

/** What one look for a submission answers, and how many rows and index entries of messages it reads. */
async function look(database: TestDatabase, group: string, text: string) {
  // As smtp-server is: its role, its planner's settings, row-level security.
  await using intake = await openSession({
    url: database.urlFor("smtp_proxy_intake"),
    role: "smtp_proxy_intake",
  });
  await intake.run("begin");
  const found = await intake.query(
    `select * from find_submission($1, sha256($2::bytea), first_uuid_at(now() - interval '1 hour'),
       first_uuid_at(now() + interval '1 minute'))`,
    [group, text],
  );
  const [read] = await intake.run(`select sum(pg_stat_get_xact_tuples_returned(c.oid))::int as entries,
      sum(pg_stat_get_xact_tuples_fetched(c.oid))::int as rows
    from pg_class c where c.relname ~ '^messages_' and c.relkind in ('r', 'i')`);
  await intake.run("rollback");
  return { found: found.length, entries: Number(read?.["entries"]), rows: Number(read?.["rows"]) };
}

Deno.test("find_submission() reads none of the group's other messages", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const account = await makeAccount(database.ownerUrl);
  const stranger = await makeAccount(database.ownerUrl);
  await fill(owner, account);
  for (const isAnalysed of [false, true]) {
    if (isAnalysed) await owner.run("analyze messages");
    const known = await look(database, account.group, "17");
    assert.equal(known.found, 1);
    assert.ok(known.entries > 0 && known.entries + known.rows < 20, JSON.stringify({ isAnalysed, known }));
    const unknown = await look(database, account.group, "none");
    assert.deepEqual(unknown, { found: 0, entries: 0, rows: 0 });
    assert.equal((await look(database, stranger.group, "17")).found, 0, "another group's is not found");
  }
});
