import assert from "node:assert/strict";
import { dropWeek, listWeeks } from "../../lib/messages/retention_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { countWeek } from "../../lib/usage/usage_days_table.ts";
import { dropOldWeeks } from "../../services/queue-worker/drop_weeks.ts";
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
