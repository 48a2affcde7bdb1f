import assert from "node:assert/strict";
import { type CallId, type MessageId, newId, type RecipientId } from "../../lib/ids.ts";
import { claimMessages } from "../../lib/messages/claims_table.ts";
import { startCalls } from "../../lib/messages/delivery_logs_table.ts";
import type { Submission } from "../../lib/messages/message.ts";
import {
  findStored,
  insertMessages,
  type InsertVerdict,
  markEnqueueFailed,
  type NewMessage,
  type RingAttempt,
} from "../../lib/messages/messages_table.ts";
import { type RecipientChange, settleAll } from "../../lib/messages/outcomes_table.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { submissionHash } from "../../services/smtp-server/resubmissions.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, submissionOf, type TestAccount } from "../support/submissions.ts";

const hour = 3_600_000;

/** Intake, worker and a message that may come again. */
interface Scene {
  readonly intake: Database;
  readonly worker: Database;
  readonly account: TestAccount;
  readonly first: Submission;
  /** When it began, by the database's clock. */
  readonly began: string;
  look(query: string): Promise<readonly Record<string, unknown>[]>;
}

async function withScene(work: (scene: Scene) => Promise<void>): Promise<void> {
  await using database = await testDatabase();
  await using intake = openDatabase({ url: database.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  await using worker = openDatabase({ url: database.urlFor("smtp_proxy_worker"), role: "smtp_proxy_worker" });
  await using session = await openSession({ url: database.ownerUrl });
  const account = await makeAccount(database.ownerUrl);
  const first = submissionOf(account, {
    headers: { messageId: "<1@example.com>" },
    recipients: [{ address: "one@example.net" }, { address: "two@example.net" }],
  });
  const [row] = await session.run("select now()::text as began");
  const began = String(row?.["began"]);
  await work({ intake, worker, account, first, began, look: (query) => session.run(query) });
}

function itemOf(submission: Submission): NewMessage {
  const hash = submissionHash(submission);
  return { submission, storageRef: "local:a#0+1", ...(hash && { submissionHash: hash }) };
}

/** Stores the message and tells what gives the right to give it up. */
async function store({ intake, first }: Scene): Promise<RingAttempt> {
  const [verdict] = await insertMessages(intake, [itemOf(first)], hour);
  assert.ok(verdict?.kind === "stored" && verdict.attempt !== undefined);
  return verdict.attempt;
}

async function storeAgain({ intake, first }: Scene): Promise<InsertVerdict & { kind: "resubmitted" }> {
  const [verdict] = await insertMessages(intake, [itemOf({ ...first, id: newId<MessageId>() })], hour);
  assert.ok(verdict?.kind === "resubmitted");
  assert.equal(verdict.id, first.id);
  return verdict;
}

/** Whether the ringing that failed is answered with 250 all the same. */
async function isTaken({ intake, first }: Scene, attempt?: RingAttempt): Promise<boolean> {
  const failed = [{ message: first.id, ...(attempt && { attempt }) }];
  return (await markEnqueueFailed(intake.system, failed)).has(first.id);
}

async function statusOf({ intake, first }: Scene): Promise<string | undefined> {
  return (await findStored(intake.system, [first.id])).get(first.id);
}

/** What this month was charged, and the next one where it has begun meanwhile; or the months before. */
async function charged({ look, began }: Scene, when: "now" | "before" = "now"): Promise<unknown> {
  const [row] = await look(`select sum(messages)::int as messages from usage
    where month ${
    when === "now" ? ">=" : "<"
  } date_trunc('month', '${began}'::timestamptz, 'UTC') at time zone 'UTC'`);
  return row?.["messages"];
}

async function claim({ worker, first }: Scene): Promise<number> {
  const claimant = { holder: "test/1", held: [], leaseMs: 60_000 };
  const answer = (await claimMessages(worker.system, [first.id], claimant)).get(first.id);
  assert.ok(answer?.kind === "claimed");
  return answer.claim.number;
}

/** A worker serves recipient one and puts recipient two off for a quarter of an hour; or serves nobody. */
async function putOff(scene: Scene, served: "one" | "nobody"): Promise<void> {
  const { worker, account, first } = scene;
  const number = await claim(scene);
  const call = newId<CallId>();
  const isCalled = served === "one";
  if (isCalled) {
    await startCalls(worker.system, [{
      call,
      message: first.id,
      ...account,
      claim: number,
      providerType: "smtp",
      recipients: [1, 2] as RecipientId[],
      attempt: 1,
      limitMs: 1_000,
    }]);
  }
  const later = (recipient: number): RecipientChange => ({
    recipient: recipient as RecipientId,
    status: "pending",
    kind: "retry",
    delayMs: 900_000,
    attemptSpent: isCalled,
    fault: { code: "later", detail: "later" },
  });
  const settled = await settleAll(worker.system, [{
    message: first.id,
    claim: number,
    then: "conclude",
    calls: isCalled ? [{ call, status: "partial" }] : [],
    changes: isCalled
      ? [{ recipient: 1 as RecipientId, status: "accepted", kind: "accepted", attemptSpent: true }, later(2)]
      : [later(1), later(2)],
  }]);
  assert.equal(settled.length, 1);
  assert.equal(await statusOf(scene), "queued");
}

Deno.test("a given-up message is refunded, and its resubmission revives and charges it", async () => {
  await withScene(async (scene) => {
    const attempt = await store(scene);
    assert.equal(await isTaken(scene, attempt), false);
    assert.equal(await statusOf(scene), "enqueue_failed");
    assert.equal(await charged(scene), 0);
    const verdict = await storeAgain(scene);
    assert.ok(verdict.revived && verdict.needsBell);
    assert.ok(verdict.attempt !== undefined && verdict.attempt !== attempt);
    assert.equal(await charged(scene), 1);
    assert.equal(await statusOf(scene), "queued");
    assert.equal(await isTaken(scene, verdict.attempt), false);
    assert.equal(await statusOf(scene), "enqueue_failed");
    assert.equal(await charged(scene), 0);
  });
});

Deno.test("a revived message that is given up again is refunded in the month that was charged for it", async () => {
  await withScene(async (scene) => {
    await isTaken(scene, await store(scene));
    await scene.look("update messages set enqueued_at = now() - interval '2 months'");
    await scene.look(`insert into usage (group_id, month, messages)
      select group_id, date_trunc('month', enqueued_at, 'UTC') at time zone 'UTC', 5 from messages`);
    const { attempt } = await storeAgain(scene);
    await isTaken(scene, attempt);
    assert.equal(await statusOf(scene), "enqueue_failed");
    assert.equal(await charged(scene), 0);
    assert.equal(await charged(scene, "before"), 5);
  });
});

Deno.test("markEnqueueFailed() leaves alone what a worker has taken, and says so", async () => {
  await withScene(async (scene) => {
    const attempt = await store(scene);
    await claim(scene);
    assert.equal(await isTaken(scene, attempt), true);
    assert.equal(await statusOf(scene), "processing");
    assert.equal(await charged(scene), 1);
  });
});

for (const served of ["one", "nobody"] as const) {
  Deno.test(`markEnqueueFailed() leaves alone what waits after a worker served ${served}, and says so`, async () => {
    await withScene(async (scene) => {
      const attempt = await store(scene);
      await putOff(scene, served);
      assert.equal(await isTaken(scene, attempt), true);
      assert.equal(await isTaken(scene), true);
      assert.equal(await statusOf(scene), "queued");
      assert.equal(await charged(scene), 1);
    });
  });

  Deno.test(`a resubmission leaves a message to its worker that served ${served}: no ring, not due sooner`, async () => {
    await withScene(async (scene) => {
      await store(scene);
      await putOff(scene, served);
      const due = await scene.look("select next_attempt_at from messages");
      assert.deepEqual(await storeAgain(scene), {
        kind: "resubmitted",
        id: scene.first.id,
        revived: false,
        needsBell: false,
      });
      assert.deepEqual(await scene.look("select next_attempt_at from messages"), due);
      assert.equal(await charged(scene), 1);
    });
  });
}

Deno.test("a resubmission rings for what is queued, and neither it nor who came before may give that up", async () => {
  await withScene(async (scene) => {
    const attempt = await store(scene);
    const again = await storeAgain(scene);
    assert.deepEqual(again, { kind: "resubmitted", id: scene.first.id, revived: false, needsBell: true });
    // The time of its row, which was the right to give it up while it was the storer's.
    const [row] = await scene.look("select next_attempt_at::text as at from messages");
    assert.notEqual(row?.["at"], attempt);
    for (const tried of [attempt, undefined]) {
      assert.equal(await isTaken(scene, tried), false);
      assert.equal(await statusOf(scene), "queued");
    }
    assert.equal(await charged(scene), 1);
  });
});
