import assert from "node:assert/strict";
import type { MessageId } from "../../lib/ids.ts";
import { countMessages, type RecipientCounts, type Statistics } from "../../lib/messages/statistics_table.ts";
import { dropWeek, listWeeks } from "../../lib/messages/retention_table.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { countWeek, recountWeek } from "../../lib/usage/usage_days_table.ts";
import { dropOldWeeks } from "../../services/queue-worker/drop_weeks.ts";
import type { DeliveryRoom } from "../support/delivery_room.ts";
import { addOldMessage, openRoomWithOldWeeks } from "../support/old_weeks.ts";
import { untilLockIsAwaited } from "../support/until.ts";

const day = 24 * 3_600_000;
const never = new AbortController().signal;
const lastId = "ffffffff-ffff-7fff-bfff-ffffffffffff";
const provider = "01a20677-02d2-721d-9548-7a421764f0ac";

/** What the group itself sees of all its mail. */
async function statisticsOf(room: DeliveryRoom, most = 1000): Promise<Statistics> {
  await using members = openDatabase({
    url: room.databaseOf.urlFor("smtp_proxy_group"),
    role: "smtp_proxy_group",
  });
  const { group } = room.account;
  const midnight = Date.now() - Date.now() % day;
  const [since, until] = [new Date(midnight - 150 * day), new Date(midnight + day)];
  return await members.forGroup(
    group,
    (sql) => countMessages(sql, group, since, until, { most, withRecipients: true }),
  );
}

/** A database with mail of two old weeks and of this one, of every kind. */
async function openFilledRoom(): Promise<
  { readonly room: DeliveryRoom; readonly ids: readonly MessageId[] }
> {
  const room = await openRoomWithOldWeeks();
  const ids: MessageId[] = [];
  for (const daysAgo of [122, 122, 122, 123, 124, 130, 131, 3]) ids.push(await addOldMessage(room, daysAgo));
  const [first, second, third, fourth] = ids;
  await room.owner.run(`begin;
    update messages set provider_id = '${provider}' where id in ('${first}', '${second}', '${fourth}');
    update messages set status = 'failed', failure_code = 'refused' where id = '${second}';
    update messages set status = 'cancelled' where id = '${third}';
    update messages set status = 'enqueue_failed' where id = '${fourth}';
    update recipients set status = 'accepted';
    update recipients set status = 'complained' where message_id = '${first}';
    update recipients set status = 'bounced' where message_id = '${second}';
    update recipients set status = 'cancelled' where message_id = '${third}';
    commit`);
  return { room, ids };
}

function dropAll(room: DeliveryRoom, portion: number): Promise<readonly string[]> {
  const { system: sql } = room.database;
  return dropOldWeeks({ sql, rowsMs: 90 * day, nowMs: Date.now(), signal: never, portion });
}

function sumOf({ days }: Statistics, key: "messages" | "failed" | "refused"): number {
  return days.reduce((sum, entry) => sum + entry[key], 0);
}

function recipientsOf({ days }: Statistics, key: keyof RecipientCounts): number {
  return days.reduce((sum, { recipientStatuses }) => sum + (recipientStatuses?.[key] ?? NaN), 0);
}

Deno.test("countMessages() answers the same before a week is dropped and after it", async () => {
  const { room } = await openFilledRoom();
  await using _room = room;
  const before = await statisticsOf(room);
  assert.deepEqual(
    [before.isCut, sumOf(before, "messages"), sumOf(before, "failed"), sumOf(before, "refused")],
    [false, 8, 1, 1],
  );
  assert.deepEqual(
    [recipientsOf(before, "accepted"), recipientsOf(before, "complained"), recipientsOf(before, "bounced")],
    [5, 1, 1],
  );
  assert.deepEqual(await dropAll(room, 2), ["older", "old"]);
  assert.deepEqual(await statisticsOf(room), before);
  const [left] = await room.owner.run("select count(*)::int as count from messages");
  assert.equal(left?.["count"], 1);
});

Deno.test("countMessages() answers the same after every single step of counting and dropping a week", async () => {
  const { room } = await openFilledRoom();
  await using _room = room;
  const before = await statisticsOf(room);
  const { system: sql } = room.database;
  const old = (await listWeeks(sql, lastId)).find(({ name }) => name === "old");
  assert.ok(old);
  let steps = 0;
  while (!await countWeek(sql, "old", 1)) {
    assert.deepEqual(await statisticsOf(room), before, `counting ${++steps}`);
  }
  assert.equal(steps, 6);
  let step = "";
  while (step !== "week") {
    step = await dropWeek(sql, old, 1);
    assert.deepEqual(await statisticsOf(room), before, step);
  }
});

Deno.test("countMessages() counts no dropped message against the most that it reads", async () => {
  const { room } = await openFilledRoom();
  await using _room = room;
  await dropAll(room, 100);
  assert.equal((await statisticsOf(room, 1)).isCut, true);
  const whole = await statisticsOf(room, 2);
  assert.deepEqual([whole.isCut, sumOf(whole, "messages")], [false, 8]);
});

Deno.test("countWeek() counts nothing twice when it dies between two portions, or two count at once", async () => {
  const { room } = await openFilledRoom();
  await using _room = room;
  const before = await statisticsOf(room);
  const { urlFor } = room.databaseOf;
  await using dying = await openSession({ url: urlFor("smtp_proxy_worker"), role: "smtp_proxy_worker" });
  await dying.run("select count_week('old', 2)");
  await dying.run("begin; select count_week('old', 2); rollback");
  const { system: sql } = room.database;
  await Promise.all(Array.from({ length: 6 }, () => countWeek(sql, "old", 2)));
  await assert.rejects(countWeek(sql, "old; drop table users", 2), /no week of messages or too young/);
  assert.deepEqual(await dropAll(room, 100), ["older", "old"]);
  assert.deepEqual(await statisticsOf(room), before);
});

Deno.test("countWeek() counts no week that is young", async () => {
  await using room = await openRoomWithOldWeeks();
  const { system: sql } = room.database;
  const young = (await listWeeks(sql, lastId)).at(-1);
  await assert.rejects(countWeek(sql, young?.name ?? "", 1), /no week of messages or too young/);
});

Deno.test("a report that comes while its week is frozen changes neither counts nor rows, one before counts", async () => {
  const { room, ids } = await openFilledRoom();
  await using _room = room;
  const report = (message: MessageId | undefined, name: string) =>
    [
      "select store_events($1, $2) as stored",
      [
        provider,
        JSON.stringify([{
          id: crypto.randomUUID(),
          "message_id": message,
          "call_id": calls.get(String(message)),
          address: "to@example.net",
          kind: "bounced",
          "external_id": name,
          "occurred_at": new Date().toISOString(),
          data: {},
          status: "bounced",
          replaces: ["accepted"],
          n: 0,
        }]),
      ],
    ] as const;
  await room.owner.run(`update delivery_logs set provider_id = '${provider}';
    update recipients set address = 'to@example.net'`);
  const rows = await room.owner.run("select message_id, id from delivery_logs");
  const calls = new Map(rows.map((row) => [String(row["message_id"]), row["id"]]));
  await using early = await openSession({ url: room.databaseOf.ownerUrl });
  await using late = await openSession({ url: room.databaseOf.ownerUrl });
  const { system: sql } = room.database;
  await early.run("begin");
  const stored = await early.query(...report(ids[4], "early"));
  assert.deepEqual(stored, [{ stored: 1 }]);
  // It waits for who is storing, and then what that one has stored is counted.
  const counting = countWeek(sql, "old", 100);
  await untilLockIsAwaited(room.owner, "count_week");
  await early.run("commit");
  await counting;
  assert.deepEqual(await late.query(...report(ids[3], "late")), [{ stored: 0 }]);
  assert.deepEqual(await late.query(...report(ids[7], "young")), [{ stored: 1 }]);
  const before = await statisticsOf(room);
  assert.equal(recipientsOf(before, "bounced"), 3);
  await dropAll(room, 100);
  assert.deepEqual(await statisticsOf(room), before);
});

Deno.test("dropOldWeeks() counts a week anew when a message of it came to be unfinished after all", async () => {
  const { room, ids } = await openFilledRoom();
  await using _room = room;
  const { system: sql } = room.database;
  while (!await countWeek(sql, "old", 100));
  await room.owner.run(`update messages set status = 'queued' where id = '${ids[4]}'`);
  assert.deepEqual(await dropAll(room, 100), ["older"]);
  await room.owner.run(
    `update messages set status = 'failed', failure_code = 'refused' where id = '${ids[4]}'`,
  );
  const before = await statisticsOf(room);
  assert.equal(sumOf(before, "failed"), 2);
  assert.deepEqual(await dropAll(room, 100), ["old"]);
  assert.deepEqual(await statisticsOf(room), before);
  // What is gone cannot be counted anew.
  await recountWeek(sql, "old");
  assert.deepEqual(await statisticsOf(room), before);
});
