import assert from "node:assert/strict";
import { type MessageId, newId } from "../../lib/ids.ts";
import type { Submission } from "../../lib/messages/message.ts";
import type { NewMessage } from "../../lib/messages/messages_table.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { recordMessage, type RecordOptions } from "../../services/smtp-server/record_message.ts";
import { submissionHash } from "../../services/smtp-server/resubmissions.ts";
import { type Fate, losingDatabase } from "../support/losing_database.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, submissionOf, type TestAccount } from "../support/submissions.ts";

const hour = 3_600_000;

/** Intake whose statements have the fates that a test sets, and what recording told. */
class Scene {
  /** Of the statements that store, and of those that ask whether that happened; the rest is answered. */
  readonly stores: Fate[] = [];
  readonly asks: Fate[] = [];
  readonly told: string[] = [];
  readonly #intake: Database;

  constructor(intake: Database, readonly account: TestAccount, readonly ownerUrl: string) {
    this.#intake = intake;
  }

  recorder(options: Partial<RecordOptions> = {}) {
    const database = losingDatabase(this.#intake, (text) => {
      if (text.includes("store_messages")) return this.stores.shift() ?? "answered";
      return text.includes("select id, status from messages") ? this.asks.shift() ?? "answered" : "answered";
    });
    return recordMessage({
      database,
      resubmissionWindowMs: hour,
      onDoubt: (count) => this.told.push(`${count} in doubt`),
      onRing: () => this.told.push("rang"),
      onResubmission: (kind) => this.told.push(kind),
      ...options,
    });
  }

  item(submission = submissionOf(this.account, { headers: { messageId: "<1@example.com>" } })): NewMessage {
    const hash = submissionHash(submission);
    return { submission, storageRef: "local:a#0+1", ...(hash && { submissionHash: hash }) };
  }

  async run(query: string): Promise<readonly Record<string, unknown>[]> {
    await using session = await openSession({ url: this.ownerUrl });
    return await session.run(query);
  }

  /** Rows, what was charged for them, and doorbells. */
  async counts(): Promise<readonly unknown[]> {
    const [row] = await this.run(`select (select count(*)::int from messages) as rows,
      (select coalesce(sum(messages), 0)::int from usage) as charged,
      (select count(*)::int from queue_entries) as bells`);
    return [row?.["rows"], row?.["charged"], row?.["bells"]];
  }
}

async function withScene(work: (scene: Scene) => Promise<void>, monthlyLimit = 0): Promise<void> {
  await using database = await testDatabase();
  await using intake = openDatabase({ url: database.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  await work(
    new Scene(intake, await makeAccount(database.ownerUrl, { monthlyLimit }), database.ownerUrl),
  );
}

function againOf(submission: Submission): Submission {
  return { ...submission, id: newId<MessageId>() };
}

Deno.test("recordMessage() in doubt rings for a row that was committed, and has no right to give it up", async () => {
  await withScene(async (scene) => {
    scene.stores.push("answer lost");
    const item = scene.item();
    const recorded = await scene.recorder()(item);
    assert.deepEqual(recorded, { id: item.submission.id, needsBell: true });
    assert.deepEqual(scene.told, ["1 in doubt"]);
    assert.deepEqual(await scene.counts(), [1, 1, 0]);
  });
});

Deno.test("recordMessage() in doubt says to come again when the row is not there", async () => {
  await withScene(async (scene) => {
    scene.stores.push("never sent");
    const [record, item] = [scene.recorder(), scene.item()];
    await assert.rejects(record(item), { code: "database_down" });
    assert.deepEqual(await scene.counts(), [0, 0, 0]);
    const again = againOf(item.submission);
    const recorded = await record(scene.item(again));
    assert.equal(recorded.id, again.id);
    assert.ok(recorded.needsBell && recorded.attempt !== undefined);
    assert.deepEqual(await scene.counts(), [1, 1, 0]);
  });
});

Deno.test("recordMessage() in doubt asks again until there is an answer", async () => {
  await withScene(async (scene) => {
    scene.stores.push("answer lost");
    scene.asks.push("never sent", "answer lost");
    const item = scene.item();
    assert.equal((await scene.recorder({ doubtMs: hour })(item)).id, item.submission.id);
    assert.deepEqual(scene.asks, []);
  });
});

Deno.test("recordMessage() in doubt that cannot ask says to come again, and takes nothing away", async () => {
  await withScene(async (scene) => {
    scene.stores.push("answer lost");
    scene.asks.push("never sent", "never sent");
    const [record, item] = [scene.recorder({ doubtMs: -1 }), scene.item()];
    await assert.rejects(record(item), { code: "database_down" });
    assert.deepEqual(await scene.counts(), [1, 1, 0]);
    const recorded = await record(scene.item(againOf(item.submission)));
    assert.deepEqual(recorded, { id: item.submission.id, needsBell: true });
    assert.deepEqual(scene.told, ["1 in doubt", "accepted"]);
    assert.deepEqual(await scene.counts(), [1, 1, 0]);
  });
});

Deno.test("recordMessage() in doubt about a resubmission says to come again, then answers the first id", async () => {
  await withScene(async (scene) => {
    const [record, item] = [scene.recorder(), scene.item()];
    await record(item);
    scene.stores.push("answer lost");
    await assert.rejects(record(scene.item(againOf(item.submission))), { code: "database_down" });
    assert.equal((await record(scene.item(againOf(item.submission)))).id, item.submission.id);
    assert.deepEqual(await scene.counts(), [1, 1, 0]);
  });
});

Deno.test("recordMessage() counts a ring once, where it rang with its row and is known to", async () => {
  await withScene(async (scene) => {
    let notified = 0;
    const record = scene.recorder({ bells: { rang: () => void notified++ } });
    const first = await record(scene.item());
    assert.equal(first.needsBell, false);
    assert.deepEqual([scene.told, notified], [["rang"], 1]);
    // Its own ringing will count it.
    scene.stores.push("answer lost");
    const found = await record(scene.item(submissionOf(scene.account)));
    assert.equal(found.needsBell, true);
    assert.deepEqual([scene.told, notified], [["rang", "1 in doubt"], 1]);
    assert.deepEqual(await scene.counts(), [2, 2, 2]);
  });
});

Deno.test("recordMessage() refuses what a limit or a suspension keeps out, each by its own code", async () => {
  await withScene(async (scene) => {
    const record = scene.recorder({ now: () => new Date("2026-12-31T23:00:00Z") });
    const another = () => scene.item(submissionOf(scene.account));
    await record(another());
    await assert.rejects(record(another()), {
      code: "quota_reached",
      message: "Monthly limit of 1 messages reached; resets 2027-01-01",
    });
    await scene.run("update groups set status = 'suspended'");
    await assert.rejects(record(another()), { code: "account_suspended" });
    assert.deepEqual(await scene.counts(), [1, 1, 0]);
  }, 1);
});
