import assert from "node:assert/strict";
import { submissionHash } from "../../services/smtp-server/resubmissions.ts";
import { type MessageId, newId } from "../../lib/ids.ts";
import {
  findStored,
  insertMessages,
  type InsertVerdict,
  type NewMessage,
} from "../../lib/messages/messages_table.ts";
import type { Submission } from "../../lib/messages/message.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, submissionOf } from "../support/submissions.ts";

const hour = 3_600_000;

async function withIntake(work: (intake: Database, ownerUrl: string) => Promise<void>): Promise<void> {
  await using database = await testDatabase();
  await using intake = openDatabase({ url: database.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  await work(intake, database.ownerUrl);
}

async function look(ownerUrl: string, query: string): Promise<readonly Record<string, unknown>[]> {
  await using session = await openSession({ url: ownerUrl });
  return await session.run(query);
}

function withHash(submission: Submission): NewMessage {
  const hash = submissionHash(submission);
  return { submission, storageRef: "local:a#0+1", ...(hash && { submissionHash: hash }) };
}

/** Stores one message and tells what its attempt is. */
async function storeOne(intake: Database, item: NewMessage): Promise<InsertVerdict & { kind: "stored" }> {
  const [verdict] = await insertMessages(intake, [item], hour);
  assert.ok(verdict?.kind === "stored");
  return verdict;
}

Deno.test("insertMessages() stores rows and recipients of several groups and charges each", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const [a, b] = [await makeAccount(ownerUrl), await makeAccount(ownerUrl)];
    const items = [a, b, a].map((account) => ({
      submission: submissionOf(account, {
        recipients: [{ address: "x@example.net" }, {
          address: "Y@Example.net",
          notify: "FAILURE",
          originalRecipient: "rfc822;y@example.net",
        }],
      }),
      storageRef: "local:seg#10+20" as const,
    }));
    const verdicts = await insertMessages(intake, items, hour);
    assert.deepEqual(verdicts.map((verdict) => verdict.kind), ["stored", "stored", "stored"]);
    const charged = await look(ownerUrl, "select group_id, messages from usage order by messages");
    assert.deepEqual(charged.map((row) => [row["group_id"], row["messages"]]), [[b.group, 1], [a.group, 2]]);
    const recipients = await look(
      ownerUrl,
      "select position, address, address_lower, notify, status from recipients",
    );
    assert.equal(recipients.length, 6);
    assert.deepEqual(recipients.find((row) => row["position"] === 2), {
      position: 2,
      address: "Y@Example.net",
      address_lower: "y@example.net",
      notify: "FAILURE",
      status: "pending",
    });
  });
});

Deno.test("insertMessages() admits a group's messages in order up to its limit and charges no others", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const limited = await makeAccount(ownerUrl, { monthlyLimit: 2 });
    const free = await makeAccount(ownerUrl);
    const items = [limited, limited, free, limited].map((account) => ({
      submission: submissionOf(account),
      storageRef: "local:seg#0+1" as const,
    }));
    const verdicts = await insertMessages(intake, items, hour);
    assert.deepEqual(verdicts.map((verdict) => verdict.kind), ["stored", "stored", "stored", "over_quota"]);
    assert.deepEqual(verdicts[3], { kind: "over_quota", limit: 2 });
    const again = await insertMessages(intake, items.slice(3), hour);
    assert.deepEqual(again.map((verdict) => verdict.kind), ["over_quota"]);
    const stored = await findStored(intake.system, items.map((item) => item.submission.id));
    assert.deepEqual([...stored.keys()].sort(), items.slice(0, 3).map((item) => item.submission.id).sort());
  });
});

Deno.test("insertMessages() never passes a limit when many batches charge at once", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl, { monthlyLimit: 25 });
    const batches = Array.from({ length: 10 }, () =>
      insertMessages(
        intake,
        Array.from(
          { length: 5 },
          () => ({ submission: submissionOf(account), storageRef: "local:s#0+1" as const }),
        ),
        hour,
      ));
    const kinds = (await Promise.all(batches)).flat().map((verdict) => verdict.kind);
    assert.equal(kinds.filter((kind) => kind === "stored").length, 25);
    assert.equal(kinds.filter((kind) => kind === "over_quota").length, 25);
  });
});

Deno.test("insertMessages() refuses a group that is suspended or gone, alone", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const [suspended, active] = [await makeAccount(ownerUrl), await makeAccount(ownerUrl)];
    await look(ownerUrl, `update groups set status = 'suspended' where id = '${suspended.group}'`);
    const items = [suspended, active, { ...active, group: newId<typeof active.group>() }].map((account) => ({
      submission: submissionOf(account),
      storageRef: "local:seg#0+1" as const,
    }));
    const verdicts = await insertMessages(intake, items, hour);
    assert.deepEqual(verdicts.map((verdict) => verdict.kind), ["group_inactive", "stored", "no_counter"]);
  });
});

Deno.test("insertMessages() answers a resubmission with the first id and charges it once", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const first = submissionOf(account, { headers: { messageId: "<1@example.com>" } });
    const again = { ...first, id: newId<MessageId>() };
    const other = { ...first, id: newId<MessageId>(), recipients: [{ address: "two@example.net" }] };
    await storeOne(intake, withHash(first));
    const verdicts = await insertMessages(intake, [withHash(again), withHash(other)], hour);
    assert.deepEqual(verdicts.map(({ kind }) => kind), ["resubmitted", "stored"]);
    assert.ok(verdicts[0]?.kind === "resubmitted" && !verdicts[0].revived);
    assert.equal(verdicts[0].id, first.id);
    const [usage] = await look(ownerUrl, "select messages from usage");
    assert.equal(usage?.["messages"], 2);
  });
});

Deno.test("insertMessages() looks for resubmissions no further back than the window", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const first = submissionOf(account, { headers: { messageId: "<1@example.com>" } });
    await insertMessages(intake, [withHash(first)], hour);
    const verdicts = await insertMessages(
      intake,
      [withHash({ ...first, id: newId<MessageId>() })],
      -1_000,
    );
    assert.deepEqual(verdicts.map(({ kind }) => kind), ["stored"]);
  });
});

Deno.test("insertMessages() stores anew what came before and will not be sent", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const first = submissionOf(account, { headers: { messageId: "<1@example.com>" } });
    await storeOne(intake, withHash(first));
    for (const status of ["failed", "storage_error", "cancelled"]) {
      await look(ownerUrl, `update messages set status = '${status}', failure_code = 'exhausted'`);
      await storeOne(intake, withHash({ ...first, id: newId<MessageId>() }));
    }
    await look(ownerUrl, "update messages set status = 'delivered', failure_code = null");
    const [verdict] = await insertMessages(intake, [withHash({ ...first, id: newId<MessageId>() })], hour);
    assert.equal(verdict?.kind, "resubmitted");
  });
});

Deno.test("insertMessages() stores once what several processes store at the same time", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const first = submissionOf(account, { headers: { messageId: "<1@example.com>" } });
    await insertMessages(intake, [{ submission: submissionOf(account), storageRef: "local:s#0+1" }], hour);
    await using holder = await openSession({ url: ownerUrl });
    await holder.run("begin; select from usage for update");
    const stores = Array.from(
      { length: 3 },
      () => insertMessages(intake, [withHash({ ...first, id: newId<MessageId>() })], hour),
    );
    // All of them wait for the group with the view of before.
    const waiting =
      "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()";
    while ((await look(ownerUrl, waiting)).length < stores.length);
    await holder.run("commit");
    const kinds = (await Promise.all(stores)).flat().map((verdict) => verdict.kind);
    assert.deepEqual(kinds.sort(), ["resubmitted", "resubmitted", "stored"]);
    assert.equal((await look(ownerUrl, "select messages from usage"))[0]?.["messages"], 2);
  });
});

Deno.test("insertMessages() stores twins of one batch once, and answers both with one id", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const first = submissionOf(account, { headers: { messageId: "<1@example.com>" } });
    const other = submissionOf(account, { headers: { messageId: "<2@example.com>" } });
    const items = [first, { ...first, id: newId<MessageId>() }, other].map(withHash);
    const [stored, twin, last] = await insertMessages(intake, items, hour);
    assert.ok(stored?.kind === "stored" && last?.kind === "stored");
    assert.deepEqual(twin, { kind: "resubmitted", id: first.id, revived: false, needsBell: true });
    // Neither of the two may give up what the other is promised.
    assert.equal(stored.attempt, undefined);
    assert.ok(last.attempt !== undefined);
    const ids = (await look(ownerUrl, "select id from messages order by id")).map((row) => row["id"]);
    assert.deepEqual(ids, [first.id, other.id].sort());
    assert.equal((await look(ownerUrl, "select messages from usage"))[0]?.["messages"], 2);
  });
});

Deno.test("insertMessages() rings with the rows it stores, for those alone, and tells the queue once", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const [first, second] = [1, 2].map((n) =>
      submissionOf(account, { headers: { messageId: `<${n}@example.com>` } })
    );
    assert.ok(first && second);
    let told = 0;
    const bells = { rang: () => void told++ };
    const verdicts = await insertMessages(intake, [first, second].map(withHash), hour, bells);
    assert.deepEqual(verdicts.map((verdict) => verdict.kind === "stored" && verdict.hasRung), [true, true]);
    assert.equal(told, 1);
    const entries = "select group_id, message from queue_entries order by id";
    const rung = [first, second].map(({ id }) => ({ group_id: account.group, message: id }));
    assert.deepEqual(await look(ownerUrl, entries), rung);
    const third = submissionOf(account);
    const mixed = [withHash({ ...first, id: newId<MessageId>() }), withHash(third)];
    const [again, stored] = await insertMessages(intake, mixed, hour, bells);
    // A batch with a resubmission leaves the ringing to its callers.
    assert.ok(again?.kind === "resubmitted" && again.needsBell);
    assert.ok(stored?.kind === "stored" && !stored.hasRung);
    assert.equal(told, 1);
    assert.deepEqual(await look(ownerUrl, entries), rung);
  });
});

Deno.test("an inline body is stored byte for byte", async () => {
  await withIntake(async (intake, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const inlineBody = Uint8Array.from({ length: 256 }, (_, index) => index);
    await insertMessages(
      intake,
      [{ submission: submissionOf(account), storageRef: "inline", inlineBody }],
      hour,
    );
    const [row] = await look(ownerUrl, "select body from messages");
    assert.deepEqual(new Uint8Array(row?.["body"] as Uint8Array), inlineBody);
  });
});
