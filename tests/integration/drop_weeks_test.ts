import assert from "node:assert/strict";
import { dropWeek, listWeeks } from "../../lib/messages/retention_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { countWeek } from "../../lib/usage/usage_days_table.ts";
import { dropOldWeeks } from "../../services/queue-worker/drop_weeks.ts";
import { firstId, giveUpDueBodies } from "../../services/queue-worker/give_up_bodies.ts";
import { Retention } from "../../services/queue-worker/retention.ts";
import type { DeliveryRoom } from "../support/delivery_room.ts";
import { addOldMessage, openRoomWithOldWeeks } from "../support/old_weeks.ts";

const day = 24 * 3_600_000;
const rowsMs = 90 * day;
const never = new AbortController().signal;
const lastId = "ffffffff-ffff-7fff-bfff-ffffffffffff";

async function tablesOf(room: DeliveryRoom, week: string): Promise<readonly unknown[]> {
  const rows = await room.owner.query(
    "select relname from pg_class where relkind = 'r' and relname like '%\\_' || $1 order by relname",
    [week],
  );
  return rows.map((row) => row["relname"]);
}

async function countOf(room: DeliveryRoom, table: string): Promise<number> {
  const [row] = await room.owner.query(`select count(*)::int as count from ${table}`, []);
  return Number(row?.["count"]);
}

Deno.test("dropOldWeeks() drops weeks that are over, with all that belongs to them, and no younger row", async () => {
  await using room = await openRoomWithOldWeeks();
  for (const daysAgo of [122, 123, 124, 130, 131, 3]) await addOldMessage(room, daysAgo);
  const sql = room.database.system;
  const parts = { sql, rowsMs, nowMs: Date.now(), signal: never };
  assert.deepEqual(await dropOldWeeks({ ...parts, portion: 2 }), ["older", "old"]);
  for (const week of ["older", "old"]) assert.deepEqual(await tablesOf(room, week), []);
  for (const table of ["messages", "recipients", "delivery_logs", "delivery_events"]) {
    assert.equal(await countOf(room, table), 1, table);
  }
  assert.deepEqual(await dropOldWeeks(parts), []);
  await addOldMessage(room, 1);
  assert.equal(await countOf(room, "messages"), 2);
});

for (
  const [what, change] of [
    ["is queued", "status = 'queued'"],
    ["is being delivered", "status = 'processing', claim = 1, claimed_by = 'x/1', claimed_until = now()"],
    ["has its body", "body = 'text', body_removed_at = null"],
  ] as const
) {
  Deno.test(`dropOldWeeks() keeps a week in which one message ${what}, and drops the others`, async () => {
    await using room = await openRoomWithOldWeeks();
    const [kept] = [
      await addOldMessage(room, 123),
      await addOldMessage(room, 124),
      await addOldMessage(room, 130),
    ];
    await room.owner.run(`update messages set ${change} where id = '${kept}'`);
    const parts = { sql: room.database.system, rowsMs, nowMs: Date.now(), signal: never };
    assert.deepEqual(await dropOldWeeks(parts), ["older"]);
    for (const table of ["messages", "recipients", "delivery_logs", "delivery_events"]) {
      assert.equal(await countOf(room, table), 2, table);
    }
    await room.owner.run(
      `update messages set status = 'delivered', claim = null, claimed_until = null, body = null,
      body_removed_at = now() where id = '${kept}'`,
    );
    assert.deepEqual(await dropOldWeeks(parts), ["old"]);
  });
}

Deno.test("dropWeek() believes nobody: it drops no week with an unfinished message, and none that is young", async () => {
  await using room = await openRoomWithOldWeeks();
  const sql = room.database.system;
  const waiting = await addOldMessage(room, 123);
  await room.owner.run(`update messages set status = 'queued' where id = '${waiting}'`);
  const weeks = await listWeeks(sql, lastId);
  const [old, young] = [weeks.find(({ name }) => name === "old"), weeks.at(-1)];
  assert.ok(old && young);
  await assert.rejects(dropWeek(sql, old, 100), /its days are not counted yet/);
  while (!await countWeek(sql, old.name, 100));
  assert.equal(await dropWeek(sql, old, 100), "kept");
  assert.equal(await countOf(room, "recipients"), 1);
  const [row] = await room.owner.query(
    "select relforcerowsecurity as forced from pg_class where relname = 'messages_old'",
    [],
  );
  assert.equal(row?.["forced"], true);
  await assert.rejects(dropWeek(sql, young, 100), /no week of messages or too young/);
  for (const name of ["", "old; drop table users", "default"]) {
    await assert.rejects(dropWeek(sql, { ...old, name }, 100), /no week of messages or too young/);
  }
});

Deno.test("dropOldWeeks() makes nobody wait behind it for a lock, and goes on where it was", async () => {
  await using room = await openRoomWithOldWeeks();
  await addOldMessage(room, 123);
  const parts = { sql: room.database.system, rowsMs, nowMs: Date.now(), signal: never };
  await using reader = await openSession({ url: room.databaseOf.ownerUrl });
  await reader.run("begin; select count(*) from recipients");
  await assert.rejects(dropOldWeeks(parts), /lock timeout/);
  await addOldMessage(room, 2);
  await reader.run("commit");
  assert.deepEqual(await dropOldWeeks(parts), ["older", "old"]);
  assert.equal(await countOf(room, "messages"), 1);
});

/** Whatever may keep a message waiting, and how that is brought about. */
const obstacles: Readonly<Record<string, (room: DeliveryRoom) => Promise<void>>> = {
  "its group is suspended": async ({ owner }) => {
    await owner.run("update groups set status = 'suspended'");
  },
  "its provider is paused": async (room) => {
    await room.relay(9);
    await room.owner.run("update esp_providers set paused_at = now()");
  },
  "there is no provider": () => Promise.resolve(),
  "its provider throttles": (room) => simulate(room, "throttle"),
  "its provider refuses the credentials": (room) => simulate(room, "credentials"),
  "its provider refuses the settings": (room) => simulate(room, "configuration"),
  "the store is down": async (room) => {
    await simulate(room, "anybody");
    await room.owner.run("update messages set storage_ref = 'local:gone#0+10', body = null");
  },
  "its worker died": async (room) => {
    await room.owner.run(
      "update messages set status = 'processing', claim = 7, claimed_by = 'x/1', claimed_until = now() - interval '1 s'",
    );
  },
};

async function simulate(room: DeliveryRoom, localPart: string): Promise<void> {
  await room.provider("simulator", {});
  await room.owner.query("update recipients set address = $1", [`${localPart}@example.net`]);
}

for (const [what, hinder] of Object.entries(obstacles)) {
  Deno.test(`an old week goes although ${what}: its message has ended by its age, and is a dead letter`, async () => {
    await using room = await openRoomWithOldWeeks();
    const id = await addOldMessage(room, 123, "queued");
    await room.owner.run(
      `update messages set processed_at = null, body = 'Subject: x', body_removed_at = null where id = '${id}'`,
    );
    await hinder(room);
    const kept: string[] = [];
    const parts = { sql: room.database.system, rowsMs, nowMs: Date.now(), signal: never };
    const onKept = (week: string, message: string) => void kept.push(`${week} ${message}`);
    assert.deepEqual(await dropOldWeeks({ ...parts, onKept }), ["older"]);
    assert.deepEqual(kept, [`old ${id}`]);
    const store = { get: () => Promise.reject(new Error("The store is down")) };
    await using crew = room.crew({ store });
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "failed/expired");
    // The body of a dead letter is kept for its own time from its end on; that is over as well.
    const bodies = { ...parts, store: room.store, terms: { failedMs: 30 * day, unansweredMs: day } };
    await giveUpDueBodies(bodies, firstId);
    assert.deepEqual(await dropOldWeeks(parts), []);
    await room.owner.run("update messages set processed_at = now() - interval '31 days'");
    await giveUpDueBodies(bodies, firstId);
    assert.deepEqual(await dropOldWeeks(parts), ["old"]);
  });
}

Deno.test("Retention tells which old weeks stay and for whom, and that it is another's to tell", async () => {
  await using room = await openRoomWithOldWeeks();
  const id = await addOldMessage(room, 123, "queued");
  const { database, store, log } = room;
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  const terms = { bodies: { unansweredMs: day }, rowsMs };
  const options = { database, store, log, terms, roundMs: 10, askLockMs: 10 };
  await using _first = new Retention({ ...options, onWeeksKept: resolve });
  assert.equal(await promise, 1);
  const line = log.lines.find(({ sentence }) => sentence === "old weeks are kept");
  assert.deepEqual(line?.fields, { part: "old", messageId: id, count: 1 });
  const other = Promise.withResolvers<number | undefined>();
  await using _second = new Retention({ ...options, onWeeksKept: other.resolve });
  assert.equal(await other.promise, undefined);
});
