import assert from "node:assert/strict";
import { type MessageId, timeOfId } from "../../lib/ids.ts";
import { insertMessages } from "../../lib/messages/messages_table.ts";
import { dropWeek, listWeeks } from "../../lib/messages/retention_table.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { dropOldWeeks } from "../../services/queue-worker/drop_weeks.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { submissionOf } from "../support/submissions.ts";

const day = 24 * 3_600_000;
const rowsMs = 90 * day;
const never = new AbortController().signal;
const lastId = "ffffffff-ffff-7fff-bfff-ffffffffffff";

/** An id as it was made so many days ago. */
function idOf(daysAgo: number): MessageId {
  const hex = Math.floor(Date.now() - daysAgo * day).toString(16).padStart(12, "0");
  const rest = crypto.randomUUID().slice(15);
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7${rest}` as MessageId;
}

/** A database whose tables have weeks that are long over: `old` ended 120 days ago, `older` 127. */
async function openRoom(): Promise<DeliveryRoom> {
  const room = await DeliveryRoom.open();
  await room.owner.run(`do $$
    declare
      parent text;
      first_week text;
      ends uuid;
      old_end uuid := first_uuid_at(now() - interval '120 days');
      older_end uuid := first_uuid_at(now() - interval '127 days');
    begin
      select substr(c.relname, length('messages_') + 1), message_week_end(c.oid) into first_week, ends
        from pg_inherits i join pg_class c on c.oid = i.inhrelid
        where i.inhparent = 'messages'::regclass order by message_week_end(c.oid) limit 1;
      foreach parent in array array['delivery_events', 'delivery_logs', 'recipients', 'messages'] loop
        execute format('alter table %I detach partition %I', parent, parent || '_' || first_week);
        execute format('drop table %I', parent || '_' || first_week);
      end loop;
      foreach parent in array array['messages', 'recipients', 'delivery_logs', 'delivery_events'] loop
        execute format('create table %I partition of %I for values from (minvalue) to (%L)',
          parent || '_older', parent, older_end);
        execute format('create table %I partition of %I for values from (%L) to (%L)',
          parent || '_old', parent, older_end, old_end);
        execute format('create table %I partition of %I for values from (%L) to (%L)',
          parent || '_' || first_week, parent, old_end, ends);
        execute format('alter table %I owner to smtp_proxy_owner', parent || '_older');
        execute format('alter table %I owner to smtp_proxy_owner', parent || '_old');
        execute format('alter table %I owner to smtp_proxy_owner', parent || '_' || first_week);
        execute format('alter table %I enable row level security', parent || '_older');
        execute format('alter table %I enable row level security', parent || '_old');
        execute format('alter table %I force row level security', parent || '_older');
        execute format('alter table %I force row level security', parent || '_old');
      end loop;
    end $$`);
  return room;
}

/** A message that was accepted so many days ago, with a recipient, a call and an event; its body is gone. */
async function addMessage(room: DeliveryRoom, daysAgo: number, status = "delivered"): Promise<MessageId> {
  const submission = submissionOf(room.account, { id: idOf(daysAgo) });
  const { id } = submission;
  await insertMessages(room.intake, [{
    submission,
    storageRef: "inline",
    inlineBody: await submission.body.bytes(),
  }], 0);
  assert.ok(Math.abs(timeOfId(id) - (Date.now() - daysAgo * day)) < 60_000);
  const { group, user } = room.account;
  await room.owner.run(`begin;
    insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status)
      values (uuidv7(), '${id}', '${group}', '${user}', 1, '{1}', 'delivered');
    insert into delivery_events (id, message_id, group_id, kind, occurred_at)
      values (uuidv7(), '${id}', '${group}', 'delivered', now());
    update messages set status = '${status}', processed_at = now() - interval '${daysAgo} days',
      body = null, body_removed_at = now(), enqueued_at = now() - interval '${daysAgo} days' where id = '${id}';
    commit`);
  return id;
}

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
  await using room = await openRoom();
  for (const daysAgo of [122, 123, 124, 130, 131, 3]) await addMessage(room, daysAgo);
  const sql = room.database.system;
  const parts = { sql, rowsMs, nowMs: Date.now(), signal: never };
  assert.deepEqual(await dropOldWeeks({ ...parts, portion: 2 }), ["older", "old"]);
  for (const week of ["older", "old"]) assert.deepEqual(await tablesOf(room, week), []);
  for (const table of ["messages", "recipients", "delivery_logs", "delivery_events"]) {
    assert.equal(await countOf(room, table), 1, table);
  }
  assert.deepEqual(await dropOldWeeks(parts), []);
  await addMessage(room, 1);
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
    await using room = await openRoom();
    const [kept] = [await addMessage(room, 123), await addMessage(room, 124), await addMessage(room, 130)];
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
  await using room = await openRoom();
  const sql = room.database.system;
  const waiting = await addMessage(room, 123);
  await room.owner.run(`update messages set status = 'queued' where id = '${waiting}'`);
  const weeks = await listWeeks(sql, lastId);
  const [old, young] = [weeks.find(({ name }) => name === "old"), weeks.at(-1)];
  assert.ok(old && young);
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
  await using room = await openRoom();
  await addMessage(room, 123);
  const parts = { sql: room.database.system, rowsMs, nowMs: Date.now(), signal: never };
  await using reader = await openSession({ url: room.databaseOf.ownerUrl });
  await reader.run("begin; select count(*) from recipients");
  await assert.rejects(dropOldWeeks(parts), /lock timeout/);
  await addMessage(room, 2);
  await reader.run("commit");
  assert.deepEqual(await dropOldWeeks(parts), ["older", "old"]);
  assert.equal(await countOf(room, "messages"), 1);
});
