import assert from "node:assert/strict";
import type { MessageId } from "../../lib/ids.ts";
import { claimMessages, holderOf } from "../../lib/messages/claims_table.ts";
import {
  insertMessages,
  type InsertVerdict,
  markEnqueueFailed,
  type NewMessage,
} from "../../lib/messages/messages_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import type { Doorbell, PushResult, Queue } from "../../lib/queue/queue.ts";
import { Presence } from "../../services/queue-worker/presence.ts";
import { Sweeper } from "../../services/queue-worker/sweep.ts";
import { submissionHash } from "../../services/smtp-server/resubmissions.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { submissionOf } from "../support/submissions.ts";

const hour = 3_600_000;
const leaseMs = 60_000;

function itemOf(room: DeliveryRoom, messageId?: string): NewMessage {
  const submission = submissionOf(room.account, {
    text: "Subject: x\r\n\r\nx\r\n",
    ...(messageId !== undefined && { headers: { messageId } }),
  });
  const hash = submissionHash(submission);
  return { submission, storageRef: "local:a#0+1", ...(hash && { submissionHash: hash }) };
}

async function store(room: DeliveryRoom, item: NewMessage): Promise<InsertVerdict> {
  const [verdict] = await insertMessages(room.intake, [item], hour);
  assert.ok(verdict);
  return verdict;
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Resolves when a statement of the intake waits for a lock. */
async function untilIntakeWaits(room: DeliveryRoom): Promise<void> {
  await until(async () => {
    const waiting = await room.owner.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        and query ~ 'account as materialized'`,
      [],
    );
    return waiting.length > 0;
  });
}

Deno.test("markEnqueueFailed() tells of a worker that took the message while the group's counter was waited for", async () => {
  await using room = await DeliveryRoom.open();
  const item = itemOf(room);
  const verdict = await store(room, item);
  assert.ok(verdict.kind === "stored" && verdict.attempt !== undefined);
  const { id } = item.submission;
  await using holder = await openSession({ url: room.databaseOf.ownerUrl });
  await holder.run("begin; select from usage for update");
  const marking = markEnqueueFailed(room.intake.system, [{ message: id, attempt: verdict.attempt }]);
  await untilIntakeWaits(room);
  const claimant = { holder: "worker/1", held: [], leaseMs };
  const answer = (await claimMessages(room.database.system, [id], claimant)).get(id);
  assert.equal(answer?.kind, "claimed");
  await holder.run("commit");
  assert.deepEqual([...await marking], [id]);
  assert.equal(await room.statusOf(id), "processing");
});

Deno.test("insertMessages() does not revive a message whose body was given up, but stores the mail anew", async () => {
  await using room = await DeliveryRoom.open();
  const [first, again] = [itemOf(room, "<1@example.com>"), itemOf(room, "<1@example.com>")];
  const verdict = await store(room, first);
  assert.ok(verdict.kind === "stored" && verdict.attempt !== undefined);
  const { id } = first.submission;
  await markEnqueueFailed(room.intake.system, [{ message: id, attempt: verdict.attempt }]);
  await room.owner.query("update messages set body_removed_at = now() where id = $1", [id]);
  assert.equal((await store(room, again)).kind, "stored");
  assert.equal(await room.statusOf(id), "enqueue_failed");
  assert.equal(await room.statusOf(again.submission.id), "queued");
});

Deno.test("insertMessages() revives nothing whose body is given up at that very moment", async () => {
  await using room = await DeliveryRoom.open();
  const [first, again] = [itemOf(room, "<1@example.com>"), itemOf(room, "<1@example.com>")];
  const verdict = await store(room, first);
  assert.ok(verdict.kind === "stored" && verdict.attempt !== undefined);
  const { id } = first.submission;
  await markEnqueueFailed(room.intake.system, [{ message: id, attempt: verdict.attempt }]);
  await using remover = await openSession({ url: room.databaseOf.ownerUrl });
  await remover.run(`begin; update messages set body_removed_at = now() where id = '${id}'`);
  const storing = store(room, again);
  await until(async () => {
    const waiting = await room.owner.query(
      `select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
        and query ~ 'store_messages'`,
      [],
    );
    return waiting.length > 0;
  });
  await remover.run("commit");
  assert.equal((await storing).kind, "no_counter", "the client comes again, and then it is a new message");
  assert.equal(await room.statusOf(id), "enqueue_failed");
});

Deno.test("claimMessages() lets no holder take over what it knows to hold, whatever the clock says", async () => {
  await using room = await DeliveryRoom.open();
  const id = await room.submit();
  const sql = room.database.system;
  const claimOf = async (holder: string, held: readonly number[]) =>
    (await claimMessages(sql, [id], { holder, held, leaseMs })).get(id);
  const first = await claimOf("worker/1", []);
  assert.ok(first?.kind === "claimed");
  // As after an outage or a step of the clock that was longer than the lease: it will renew the claim yet.
  await room.owner.run("update messages set claimed_until = now() - interval '1 h'");
  assert.equal((await claimOf("worker/1", [first.claim.number]))?.kind, "busy");
  const second = await claimOf("worker/2", []);
  assert.ok(second?.kind === "claimed");
  assert.equal((await claimOf("worker/1", []))?.kind, "busy", "it is another's now");
  assert.equal(
    (await claimOf("worker/2", []))?.kind,
    "claimed",
    "an answer that was lost is asked for again",
  );
});

/** The room's queue, which refuses what `refuses` says. */
function refusing(queue: Queue, refuses: () => boolean): Queue {
  return new Proxy(queue, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== "push") return typeof value === "function" ? value.bind(target) : value;
      return async (bells: readonly Doorbell[], delayMs?: number): Promise<readonly PushResult[]> =>
        refuses()
          ? bells.map(() => ({ ok: false, doubtful: false, error: new Error("out of memory") }))
          : await target.push(bells, delayMs);
    },
  });
}

Deno.test("Sweeper rings as soon as it can for what the queue did not take, and does not wait for a gap to end", async () => {
  await using room = await DeliveryRoom.open();
  const { database, log, metrics } = room;
  const failures = () => log.lines.filter(({ sentence }) => sentence === "sweeper could not ring").length;
  let isFull = false;
  const queue = refusing(room.queue, () => isFull);
  await using _sweeper = new Sweeper({ database, queue, log, metrics, sweepAfterMs: hour, roundMs: 20 });
  await until(async () => await room.queue.epoch() !== undefined);
  await until(() => log.lines.some(({ sentence }) => sentence === "queue rung anew"));
  isFull = true;
  const [expired, lost] = [await room.submit(), await room.submit()];
  await room.owner.run(`begin;
    update messages set next_attempt_at = now() - interval '5 min' where id = '${lost}';
    update messages set status = 'processing', claim = 1, claimed_by = 'gone/1',
      claimed_until = now() - interval '1 s' where id = '${expired}';
    commit`);
  await until(() => failures() >= 2);
  isFull = false;
  const heard = new Set<MessageId>();
  while (heard.size < 2) for (const { message } of await room.queue.reserve(10, 1000)) heard.add(message);
  assert.deepEqual([...heard].sort(), [expired, lost].sort());
  const [row] = await room.owner.query("select max(rings) as rings from messages", []);
  assert.equal(row?.["rings"], 1);
});

Deno.test("Presence takes no name over from a process that lives, although a port of its own seemed to prove it gone", async () => {
  await using room = await DeliveryRoom.open();
  const sql = room.database.system;
  const [first, second] = [crypto.randomUUID(), crypto.randomUUID()];
  const seen = async (after: string) =>
    (await room.owner.query("select seen_at::text as at from workers where seen_at > $1::timestamptz", [
      after,
    ]))[0]?.["at"] as string | undefined;
  // Long, so that no stall of this test makes either of them silent for it.
  const common = { sql, name: "host:0", log: room.log, goneAfterMs: 60_000 };
  await using _first = new Presence({ ...common, incarnation: first, onFreed: () => {} });
  await until(async () => await seen("-infinity") !== undefined);
  const id = await room.submit();
  const holder = holderOf("host:0", first);
  assert.equal((await claimMessages(sql, [id], { holder, held: [], leaseMs })).get(id)?.kind, "claimed");
  let freed = 0;
  // Another host of the same name, whose ports are its own.
  await using _second = new Presence({ ...common, incarnation: second, onFreed: () => freed++ });
  await until(() =>
    room.log.lines.some(({ sentence }) => sentence === "another process has this worker's name")
  );
  // As after an outage of the database in which neither could say anything.
  await room.owner.run("update workers set seen_at = now() - interval '61 s'");
  const [silent] = await room.owner.query("select now()::text as at", []);
  await until(async () => await seen(String(silent?.["at"])) !== undefined);
  assert.deepEqual(await room.owner.query("select incarnation from workers", []), [{ incarnation: first }]);
  assert.equal(freed, 0);
  assert.equal(await room.statusOf(id), "processing");
});

Deno.test("openDatabase() has the server look for clients that are gone without a word, within a minute", async () => {
  await using room = await DeliveryRoom.open();
  const [row] = await room.database.system<{ seconds: number }>`
    select current_setting('tcp_keepalives_idle')::int
      + current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int as seconds`;
  assert.ok(row !== undefined && row.seconds > 0 && row.seconds <= 60);
});
