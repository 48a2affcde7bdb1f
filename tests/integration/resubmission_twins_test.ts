import assert from "node:assert/strict";
import { type MessageId, newId } from "../../lib/ids.ts";
import type { Submission } from "../../lib/messages/message.ts";
import { insertMessages, type NewMessage } from "../../lib/messages/messages_table.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { accept } from "../../services/smtp-server/accept.ts";
import { recordMessage } from "../../services/smtp-server/record_message.ts";
import { Resubmissions, submissionHash } from "../../services/smtp-server/resubmissions.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, submissionOf } from "../support/submissions.ts";

const hour = 3_600_000;

async function withIntakes(work: (intakes: readonly Database[], ownerUrl: string) => Promise<void>) {
  await using database = await testDatabase();
  const options = { url: database.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" };
  await using first = openDatabase(options);
  await using second = openDatabase(options);
  await work([first, second], database.ownerUrl);
}

async function countOf(ownerUrl: string): Promise<readonly number[]> {
  await using session = await openSession({ url: ownerUrl });
  const [row] = await session.run(`select (select count(*) from messages)::int as rows,
    (select sum(messages) from usage)::int as charged`);
  return [Number(row?.["rows"]), Number(row?.["charged"])];
}

/** The same submission, come once more. */
function twinOf(submission: Submission): Submission {
  return { ...submission, id: newId<MessageId>() };
}

/** An smtp-server's way from body to doorbell, without its store and its queue. */
function server(database: Database) {
  const rung: MessageId[] = [];
  const parts = {
    storeBody: () => Promise.resolve({ storageRef: "local:a#0+1" as const }),
    record: recordMessage({ database, resubmissionWindowMs: hour }),
    enqueue: ({ message }: { readonly message: MessageId }) => Promise.resolve(void rung.push(message)),
    resubmissions: new Resubmissions(hour),
  };
  return { rung, accept: (submission: Submission) => accept(submission, parts) };
}

Deno.test("accept() stores twins that arrive at the same moment once, and charges and answers them as one", async () => {
  await withIntakes(async ([database], ownerUrl) => {
    assert.ok(database);
    const first = submissionOf(await makeAccount(ownerUrl), { headers: { messageId: "<1@example.com>" } });
    const one = server(database);
    const ids = await Promise.all([first, twinOf(first), twinOf(first)].map((each) => one.accept(each)));
    assert.deepEqual([...new Set(ids)].length, 1);
    assert.deepEqual(await countOf(ownerUrl), [1, 1]);
  });
});

Deno.test("accept() stores twins once that arrive at two processes at the same moment", async () => {
  await withIntakes(async (databases, ownerUrl) => {
    const account = await makeAccount(ownerUrl);
    const servers = databases.map(server);
    for (let round = 1; round <= 20; round++) {
      const first = submissionOf(account, { headers: { messageId: `<${round}@example.com>` } });
      const ids = await Promise.all(servers.map((each) => each.accept(twinOf(first))));
      assert.equal(ids[0], ids[1]);
      assert.deepEqual(await countOf(ownerUrl), [round, round]);
    }
  });
});

Deno.test("insertMessages() stores twins of one batch once", async () => {
  await withIntakes(async ([database], ownerUrl) => {
    assert.ok(database);
    const first = submissionOf(await makeAccount(ownerUrl), { headers: { messageId: "<1@example.com>" } });
    const items = [first, twinOf(first)].map((submission): NewMessage => {
      const hash = submissionHash(submission);
      return { submission, storageRef: "local:a#0+1", ...(hash && { submissionHash: hash }) };
    });
    const verdicts = await insertMessages(database, items, hour);
    assert.deepEqual(verdicts.map(({ kind }) => kind), ["stored", "resubmitted"]);
    assert.deepEqual(await countOf(ownerUrl), [1, 1]);
  });
});
