import assert from "node:assert/strict";
import { type MessageId, newId } from "../../lib/ids.ts";
import { insertMessages } from "../../lib/messages/messages_table.ts";
import { type Database, openSession, type Session } from "../../lib/postgres/database.ts";
import { submissionHash } from "../../services/smtp-server/resubmissions.ts";
import { explainingDatabase, type Look } from "../bench/explaining_database.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, submissionOf, type TestAccount } from "../support/submissions.ts";

const others = 5000;
const batch = 20;
const windowMs = 3_600_000;

/** Messages of one account by the hundred, each of a submission of its own. */
async function fill(owner: Session, { group, user }: TestAccount): Promise<void> {
  await owner.run(`insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash,
      submission_hash, storage_ref, next_attempt_at, correlation_id, enqueued_at)
    select uuidv7(), '${group}', '${user}', 'a@example.com', 1, 1, sha256('x'), sha256(n::text::bytea), 'local:x#0+1',
      now(), 'test', now() from generate_series(1, ${others}) n`);
}

function itemsOf(account: TestAccount, from = 0) {
  return Array.from({ length: batch }, (_, n) => {
    const submission = submissionOf(account, { headers: { messageId: `<${from + n}@example.com>` } });
    const hash = submissionHash(submission);
    assert.ok(hash);
    return { submission, storageRef: "local:x.seg#1+1" as const, submissionHash: hash };
  });
}

Deno.test("insertMessages() reads none of the group's other messages, for new ones or for the same again", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const account = await makeAccount(database.ownerUrl);
  await fill(owner, account);
  const role = "smtp_proxy_intake";
  for (const isAnalysed of [false, true]) {
    if (isAnalysed) await owner.run("analyze");
    // As smtp-server is: its role, its planner's settings, row-level security.
    await using session = await openSession({ url: database.urlFor(role), role });
    const looks: Look[] = [];
    const intake = explainingDatabase(session, (look) => looks.push(look));
    const items = itemsOf(account);
    const first = await insertMessages(intake, items, windowMs);
    assert.deepEqual(new Set(first.map((verdict) => verdict.kind)), new Set(["stored"]));
    const again = items.map((item) => ({
      ...item,
      submission: { ...item.submission, id: newId<MessageId>() },
    }));
    const second = await insertMessages(intake, again, windowMs);
    assert.deepEqual(new Set(second.map((verdict) => verdict.kind)), new Set(["resubmitted"]));
    for (const { statement, wholeTables, entries } of looks) {
      assert.deepEqual(wholeTables, [], statement);
      assert.ok(entries <= 5 * batch, `${entries} entries: ${statement}`);
    }
    assert.ok(looks.some(({ entries }) => entries > 0), "what functions read is counted");
  }
});

Deno.test("insertMessages() reads none of the others however few they were when its plan was made", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const account = await makeAccount(database.ownerUrl);
  const role = "smtp_proxy_intake";
  await using sessions = new AsyncDisposableStack();
  const looks: Look[] = [];
  const intakes: Database[] = [];
  for (let few = 0; few <= 400; few += batch) {
    const session = sessions.use(await openSession({ url: database.urlFor(role), role }));
    const intake = explainingDatabase(session, (look) => looks.push(look));
    intakes.push(intake);
    const verdicts = await insertMessages(intake, itemsOf(account, few), windowMs);
    assert.deepEqual(new Set(verdicts.map((verdict) => verdict.kind)), new Set(["stored"]));
  }
  await fill(owner, account);
  looks.length = 0;
  for (const [index, intake] of intakes.entries()) {
    await insertMessages(intake, itemsOf(account, 1_000 + index * batch), windowMs);
    await insertMessages(intake, itemsOf(account, index * batch), windowMs);
  }
  const read = looks.map(({ entries }) => entries);
  assert.ok(Math.max(...read) <= 5 * batch, `${read} entries`);
});

Deno.test("explainingDatabase() tells what a function reads of a large table", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  await fill(owner, await makeAccount(database.ownerUrl));
  await owner.run(`create function all_subjects() returns bigint language plpgsql as $$
    begin return (select count(subject) from messages); end $$;
    set enable_seqscan = on; set enable_indexscan = off; set enable_bitmapscan = off`);
  const looks: Look[] = [];
  const { system } = explainingDatabase(owner, (look) => looks.push(look));
  await system`select all_subjects()`;
  await system`select 1`;
  assert.deepEqual(looks.map(({ entries }) => entries), [others, 0]);
  assert.deepEqual(looks.map(({ wholeTables }) => wholeTables.some((name) => name.startsWith("messages_"))), [
    true,
    false,
  ]);
});
