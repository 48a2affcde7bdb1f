import assert from "node:assert/strict";
import { type GroupId, type MessageId, newId } from "../../lib/ids.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import { insertMessages } from "../../lib/messages/messages_table.ts";
import { type BodyTerms, findDueBodies, giveUpBodies } from "../../lib/messages/retention_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import { collectBodies } from "../../services/queue-worker/collect_bodies.ts";
import { firstId, giveUpDueBodies } from "../../services/queue-worker/give_up_bodies.ts";
import { Retention, retentionTerms } from "../../services/queue-worker/retention.ts";
import { newLabel } from "../contracts/message_store_contract.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { openTestS3Store } from "../support/s3_stores.ts";
import { makeAccount, submissionOf, type TestAccount } from "../support/submissions.ts";
import { until } from "../support/until.ts";

const hour = 3_600_000;
const day = 24 * hour;
const terms: BodyTerms = { deliveredMs: 7 * day, failedMs: 30 * day, unansweredMs: 2 * hour };
const never = new AbortController().signal;
const lastId = "ffffffff-ffff-7fff-bfff-ffffffffffff";

interface Kept {
  readonly id: MessageId;
  readonly ref: StorageRef;
}

/** Accepts a message whose body goes to a store, or into its row. */
async function submit(
  room: DeliveryRoom,
  store: MessageStore | "inline",
  account: TestAccount = room.account,
): Promise<Kept> {
  const submission = submissionOf(account);
  const recipients = submission.recipients.map(({ address }) => address);
  if (store === "inline") {
    const inlineBody = await submission.body.bytes();
    await insertMessages(room.intake, [{ submission, storageRef: "inline", inlineBody }], 0);
    return { id: submission.id, ref: "inline" };
  }
  const ref = await store.put({ ...submission, recipients }, submission.body);
  await insertMessages(room.intake, [{ submission, storageRef: ref }], 0);
  return { id: submission.id, ref };
}

/** Makes a message what it became so long ago. */
async function became(room: DeliveryRoom, id: MessageId, status: string, agoMs: number): Promise<void> {
  await room.owner.query(
    `update messages set status = $2::text, failure_code = case when $2::text = 'failed' then 'refused' end,
      claim = case when $2::text = 'processing' then 1 end, claimed_by = case when $2::text = 'processing' then 'x/1' end,
      claimed_until = case when $2::text = 'processing' then now() + interval '1 h' end,
      enqueued_at = now() - make_interval(secs => $3 / 1000.0),
      processed_at = case when $2::text <> 'queued' then now() - make_interval(secs => $3 / 1000.0) end where id = $1`,
    [id, status, agoMs],
  );
}

async function isGivenUp(room: DeliveryRoom, id: MessageId): Promise<boolean> {
  const [row] = await room.owner.query("select body_removed_at, body from messages where id = $1", [id]);
  if (row?.["body_removed_at"] !== null) assert.equal(row?.["body"], null);
  return row?.["body_removed_at"] !== null;
}

async function giveUp(
  room: DeliveryRoom,
  store: Pick<MessageStore, "remove">,
  some = terms,
): Promise<number> {
  const nowMs = Date.now() + 365 * day; // where to look only: what is due is PostgreSQL's to say
  const sql = room.database.system;
  return (await giveUpDueBodies({ sql, store, terms: some, nowMs, signal: never, pageSize: 7 }, firstId))
    .count;
}

interface Stage extends AsyncDisposable {
  readonly room: DeliveryRoom;
  readonly store: MessageStore;
}

async function openStage(kind: "local" | "S3"): Promise<Stage> {
  await using stack = new AsyncDisposableStack();
  const room = stack.use(await DeliveryRoom.open());
  const store = kind === "local" ? room.store : stack.use(openTestS3Store()).store;
  const moved = stack.move();
  return { room, store, [Symbol.asyncDispose]: () => moved.disposeAsync() };
}

const unfinished = ["queued", "processing"];
const keptFor = new Map<string, number>([
  ["delivered", 7 * day],
  ["cancelled", 7 * day],
  ["failed", 30 * day],
  ["storage_error", 30 * day],
  ["enqueue_failed", 2 * hour],
]);

for (const kind of ["local", "S3"] as const) {
  Deno.test(`retention removes bodies of finished messages when their time is over, and no other (${kind})`, async () => {
    await using stage = await openStage(kind);
    const { room, store } = stage;
    const expected = new Map<Kept, boolean>();
    for (const [status, keptMs] of keptFor) {
      for (const [agoMs, gone] of [[keptMs + hour, true], [keptMs - hour, false]] as const) {
        for (const where of [store, "inline"] as const) {
          const message = await submit(room, where);
          await became(room, message.id, status, agoMs);
          expected.set(message, gone);
        }
      }
    }
    for (const status of unfinished) {
      for (const where of [store, "inline"] as const) {
        const message = await submit(room, where);
        await became(room, message.id, status, 1000 * day);
        expected.set(message, false);
      }
    }
    assert.equal(await giveUp(room, store), 10);
    assert.equal(await giveUp(room, store), 0);
    for (const [{ id, ref }, gone] of expected) {
      assert.equal(await isGivenUp(room, id), gone);
      if (ref !== "inline") assert.equal(await store.get(ref) === undefined, gone);
    }
  });

  Deno.test(`retention that dies between the row and the store leaves what the collector removes (${kind})`, async () => {
    await using stage = await openStage(kind);
    const { room, store } = stage;
    const [finished, waiting] = [await submit(room, store), await submit(room, store)];
    await became(room, finished.id, "delivered", 8 * day);
    const dying = { remove: () => Promise.reject(new Error("killed")) };
    await assert.rejects(giveUp(room, dying), /killed/);
    assert.ok(await isGivenUp(room, finished.id));
    assert.ok(await store.get(finished.ref));
    assert.equal(await giveUp(room, store), 0);

    const orphan = submissionOf(room.account);
    const orphanRef = await store.put({ ...orphan, recipients: [] }, orphan.body);
    const parts = { sql: room.database.system, store, signal: never };
    assert.deepEqual(
      await collectBodies({ ...parts, nowMs: Date.now() + 23 * hour }),
      { count: 0 },
      "they are too young",
    );
    assert.deepEqual(await collectBodies({ ...parts, nowMs: Date.now() + 25 * hour }), { count: 2 });
    assert.equal(await store.get(finished.ref), undefined);
    assert.equal(await store.get(orphanRef), undefined);
    assert.ok(await store.get(waiting.ref));
    assert.deepEqual(await collectBodies({ ...parts, nowMs: Date.now() + 25 * hour }), { count: 0 });
  });
}

Deno.test("the collector leaves bodies of groups alone that its database does not know", async () => {
  await using stage = await openStage("S3");
  const { room, store } = stage;
  const waiting = await submit(room, store);
  const theirs = await store.put(
    { ...newLabel(), group: crypto.randomUUID() as GroupId },
    submissionOf(room.account).body,
  );
  const unnamed = await store.put(
    { ...newLabel(), group: "no id at all" as GroupId },
    submissionOf(room.account).body,
  );
  const parts = { sql: room.database.system, store, signal: never };
  assert.deepEqual(await collectBodies({ ...parts, nowMs: Date.now() + 25 * hour }), { count: 0 });
  for (const ref of [waiting.ref, theirs, unnamed]) assert.ok(await store.get(ref));
});

Deno.test("the collector removes nothing where there is no message at all", async () => {
  await using room = await DeliveryRoom.open();
  const orphan = submissionOf(room.account);
  const ref = await room.store.put({ ...orphan, recipients: [] }, orphan.body);
  const parts = { sql: room.database.system, store: room.store, signal: never };
  assert.deepEqual(await collectBodies({ ...parts, nowMs: Date.now() + 25 * hour }), { count: 0 });
  assert.ok(await room.store.get(ref));
});

Deno.test("the collector removes a second body of a message, and keeps the one that its row names", async () => {
  await using room = await DeliveryRoom.open();
  const submission = submissionOf(room.account);
  const label = { ...submission, recipients: [] };
  const [first, second] = [
    await room.store.put(label, submission.body),
    await room.store.put(label, submission.body),
  ];
  await insertMessages(room.intake, [{ submission, storageRef: second }], 0);
  const parts = { sql: room.database.system, store: room.store, signal: never };
  assert.deepEqual(await collectBodies({ ...parts, nowMs: Date.now() + 25 * hour }), { count: 1 });
  assert.equal(await room.store.get(first), undefined);
  assert.ok(await room.store.get(second));
});

Deno.test("retention follows a group's own shorter times, down to at once, and never longer ones", async () => {
  await using room = await DeliveryRoom.open();
  const own = await makeAccount(room.databaseOf.ownerUrl);
  await room.owner.query(
    "update groups set retention_delivered = '0', retention_failed = '100 days' where id = $1",
    [own.group],
  );
  const messages = [];
  for (const account of [own, room.account]) {
    for (const [status, agoMs] of [["delivered", 1], ["failed", 31 * day], ["queued", 31 * day]] as const) {
      const message = await submit(room, room.store, account);
      await became(room, message.id, status, agoMs);
      messages.push(message);
    }
  }
  assert.equal(await giveUp(room, room.store), 3);
  const gone = await Promise.all(messages.map(({ id }) => isGivenUp(room, id)));
  assert.deepEqual(gone, [true, true, false, false, true, false]);
  assert.equal(await giveUp(room, room.store, { unansweredMs: hour }), 0);
});

Deno.test("retention never takes the body of a message that is sent again meanwhile", async () => {
  await using room = await DeliveryRoom.open();
  const [locked, changed] = [await submit(room, room.store), await submit(room, room.store)];
  for (const { id } of [locked, changed]) await became(room, id, "failed", 31 * day);
  const sql = room.database.system;
  const { due } = await findDueBodies(sql, firstId, lastId, terms, 100);
  assert.deepEqual(due, [locked.id, changed.id]);
  await became(room, changed.id, "queued", 31 * day);
  await using other = await openSession({ url: room.databaseOf.ownerUrl });
  await other.run(`begin; select 1 from messages where id = '${locked.id}' for update`);
  assert.deepEqual(await giveUpBodies(sql, due, terms), []);
  await other.run(
    `update messages set status = 'queued', failure_code = null where id = '${locked.id}'; commit`,
  );
  assert.deepEqual(await giveUpBodies(sql, due, terms), []);
  for (const { ref } of [locked, changed]) assert.ok(await room.store.get(ref));
});

Deno.test("retention keeps to its rules for any mix of messages, groups and times", async () => {
  await using room = await DeliveryRoom.open();
  const groups: { account: TestAccount; delivered?: number; failed?: number }[] = [{ account: room.account }];
  for (const [delivered, failed] of [[0, 3], [2, undefined], [undefined, 0]] as const) {
    const account = await makeAccount(room.databaseOf.ownerUrl);
    await room.owner.query(
      `update groups set retention_delivered = make_interval(days => $2), retention_failed = make_interval(days => $3)
       where id = $1`,
      [account.group, delivered ?? null, failed ?? null],
    );
    groups.push({
      account,
      ...delivered !== undefined && { delivered },
      ...failed !== undefined && { failed },
    });
  }
  const statuses = [...keptFor.keys(), ...unfinished];
  const all: { message: Kept; isDue: boolean }[] = [];
  for (let number = 0; number < 150; number++) {
    const { account, ...own } = groups[number % groups.length] ?? { account: room.account };
    const status = statuses[Math.floor(Math.random() * statuses.length)] ?? "queued";
    // Half an hour from every limit at least: none is reached while this goes on.
    const agoMs = Math.floor(Math.random() * 40 * 24) * hour + hour / 2;
    const message = await submit(room, number % 5 === 0 ? "inline" : room.store, account);
    await became(room, message.id, status, agoMs);
    const isFailure = status === "failed" || status === "storage_error";
    const ownDays = status === "enqueue_failed" ? undefined : isFailure ? own.failed : own.delivered;
    const keptMs = Math.min(
      keptFor.get(status) ?? Infinity,
      ownDays === undefined ? Infinity : ownDays * day,
    );
    all.push({ message, isDue: !unfinished.includes(status) && agoMs > keptMs });
  }
  assert.equal(await giveUp(room, room.store), all.filter(({ isDue }) => isDue).length);
  for (const { message: { id, ref }, isDue } of all) {
    assert.equal(await isGivenUp(room, id), isDue);
    if (ref !== "inline") assert.equal(await room.store.get(ref) === undefined, isDue);
  }
});

Deno.test("Retention works by itself, one at a time, and the next takes over from one that ends", async () => {
  await using room = await DeliveryRoom.open();
  const { database, store, log } = room;
  const options = { database, store, log, terms: { bodies: terms }, roundMs: 10, askLockMs: 10 };
  const later = { ...options, now: () => Date.now() + 25 * hour, collectAfterMs: 0 };
  // Finished before the job starts: by its clock nobody would be working on a message any more.
  const message = await submit(room, store);
  await became(room, message.id, "delivered", 8 * day);
  await using stack = new AsyncDisposableStack();
  const first = new Retention({ ...options, now: () => Date.now() + 8 * day });
  stack.use(first);
  await until("the body is given up", () => isGivenUp(room, message.id));
  const orphan = submissionOf(room.account);
  const ref = await store.put({ ...orphan, recipients: [] }, orphan.body);
  await using _second = new Retention(later);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(await store.get(ref), "the first one has the lock");
  await first[Symbol.asyncDispose]();
  await until("the body is gone", async () => await store.get(ref) === undefined);
});

Deno.test("Retention tells of a store that is down once, and removes the bodies when it is back", async () => {
  await using room = await DeliveryRoom.open();
  const { database, log } = room;
  let isDown = true;
  const tried: string[] = [];
  const store = {
    list: (olderThan: Date) => room.store.list(olderThan),
    remove(ref: StorageRef) {
      tried.push(ref);
      return isDown ? Promise.reject(new Error("down")) : room.store.remove(ref);
    },
  };
  const messages = [await submit(room, room.store), await submit(room, room.store)];
  await became(room, messages[0]?.id ?? newId(), "delivered", 8 * day);
  const options = {
    database,
    store,
    log,
    terms: { bodies: terms },
    roundMs: 5,
    now: () => Date.now() + 8 * day,
  };
  await using _job = new Retention({ ...options, collectAfterMs: 0, collectAgainMs: 0 });
  await until("three tries have failed", () => tried.length >= 3);
  assert.equal(log.lines.filter(({ sentence }) => sentence === "cannot remove what is old").length, 1);
  isDown = false;
  await until(
    "the body is gone",
    async () => await room.store.get(messages[0]?.ref ?? "inline") === undefined,
  );
  assert.ok(await room.store.get(messages[1]?.ref ?? "inline"));
});

Deno.test("retentionTerms() keeps nothing of a message for longer than its row", () => {
  const smtp = { resubmissionWindow: hour } as Parameters<typeof retentionTerms>[0]["smtp"];
  const of = (delivered: number, failed: number, rows: number, activities = 0) =>
    retentionTerms({ smtp, retention: { delivered, failed, rows, activities } });
  const unansweredMs = 2 * hour;
  assert.deepEqual(of(7, 30, 90), { bodies: { deliveredMs: 7, failedMs: 30, unansweredMs }, rowsMs: 90 });
  assert.deepEqual(of(0, 30, 20), { bodies: { deliveredMs: 20, failedMs: 20, unansweredMs }, rowsMs: 20 });
  assert.deepEqual(of(0, 0, 0), { bodies: { unansweredMs } });
  assert.deepEqual(of(0, 0, 0, 365), { bodies: { unansweredMs }, activitiesMs: 365 });
});
