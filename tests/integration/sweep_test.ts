import assert from "node:assert/strict";
import type { MessageId } from "../../lib/ids.ts";
import { readEpoch, takeExpiredClaims, takeLostDoorbells } from "../../lib/messages/orphans_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import type { Queue } from "../../lib/queue/queue.ts";
import { ringAll } from "../../services/queue-worker/ring_all.ts";
import { Sweeper } from "../../services/queue-worker/sweep.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { HeldClock } from "../support/held_clock.ts";

function sweeper(room: DeliveryRoom, queue: Queue = room.queue): Sweeper {
  const { database, log, metrics } = room;
  return new Sweeper({ database, queue, log, metrics, sweepAfterMs: 300_000, graceMs: 60_000, roundMs: 50 });
}

/** Takes doorbells until each of these has rung; other messages ringing is a failure. */
async function heard(room: DeliveryRoom, ids: readonly MessageId[]): Promise<void> {
  const missing = new Set(ids);
  while (missing.size > 0) {
    for (const { message } of await room.queue.reserve(100, 5000)) {
      assert.ok(ids.includes(message), "another message was rung");
      missing.delete(message);
    }
  }
}

async function settled(room: DeliveryRoom): Promise<void> {
  const epoch = await room.queue.epoch();
  if (epoch === undefined || await readEpoch(room.database.system) !== epoch) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    await settled(room);
  }
}

Deno.test("Sweeper rings a message whose doorbell was lost, and no other", async () => {
  await using room = await DeliveryRoom.open();
  await using _sweeper = sweeper(room);
  await settled(room);
  const [lost, young] = [await room.submit(), await room.submit()];
  await room.owner.query("update messages set next_attempt_at = now() - interval '5 min' where id = $1", [
    lost,
  ]);
  await heard(room, [lost]);
  assert.equal(await room.statusOf(young), "queued");
});

Deno.test("Sweeper rings a message whose claim has expired", async () => {
  await using room = await DeliveryRoom.open();
  await using _sweeper = sweeper(room);
  await settled(room);
  const id = await room.submit();
  await room.owner.query(
    `update messages set status = 'processing', claim = 1, claimed_by = 'gone/1',
      claimed_until = now() - interval '1 s' where id = $1`,
    [id],
  );
  await heard(room, [id]);
});

Deno.test("Sweeper rings everything that waits when the queue has lost its contents, then records the epoch", async () => {
  await using room = await DeliveryRoom.open();
  const ids = await Promise.all(Array.from({ length: 30 }, () => room.submit()));
  await using _sweeper = sweeper(room);
  await settled(room);
  await heard(room, ids);
  const before = await readEpoch(room.database.system);
  await room.owner.run("truncate queue_entries, queue_delayed, queue_epoch");
  await heard(room, ids);
  await settled(room);
  assert.notEqual(await readEpoch(room.database.system), before);
});

Deno.test("Sweeper rings again at once what it had rung before the queue lost its contents", async () => {
  await using room = await DeliveryRoom.open();
  const id = await room.submit();
  await room.owner.query(
    `update messages set status = 'processing', claim = 1, claimed_by = 'gone/1',
      claimed_until = now() - interval '1 s', rings = 1, ring_after = now() + interval '5 min' where id = $1`,
    [id],
  );
  await using _sweeper = sweeper(room);
  await heard(room, [id]);
});

Deno.test("Sweeper takes no doorbell for lost that waits where everything was rung anew", async () => {
  await using room = await DeliveryRoom.open();
  const ids = await Promise.all(Array.from({ length: 5 }, () => room.submit()));
  await room.owner.run("update messages set next_attempt_at = now() - interval '1 h'");
  {
    await using _sweeper = sweeper(room);
    // The round in which it rings everything ends with a look for lost ones.
    await settled(room);
  }
  const rung = await room.owner.run("select message from queue_entries");
  assert.equal(rung.length, ids.length);
});

Deno.test("Sweeper leaves a queue that is down alone until it answers", async () => {
  await using room = await DeliveryRoom.open();
  let isDown = true;
  let asked = 0;
  const flaky = new Proxy(room.queue, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== "epoch") return typeof value === "function" ? value.bind(target) : value;
      return () => {
        asked++;
        return isDown ? Promise.reject(new Error("queue is down")) : target.epoch();
      };
    },
  });
  const id = await room.submit();
  await using _sweeper = sweeper(room, flaky);
  while (asked < 3) await new Promise((resolve) => setTimeout(resolve, 20));
  isDown = false;
  await heard(room, [id]);
});

Deno.test("Sweeper asks seldom for a lock that another one holds", async () => {
  await using room = await DeliveryRoom.open();
  let asked = 0;
  let rounds = 0;
  using clock = new HeldClock();
  const counting: Database = {
    ...room.database,
    tryLock() {
      asked++;
      return Promise.resolve(undefined);
    },
  };
  const { queue, log, metrics } = room;
  const times = { sweepAfterMs: 300_000, roundMs: 5 };
  await using _second = new Sweeper({ ...times, database: counting, queue, log, metrics });
  await using _often = new Sweeper({
    ...times,
    askLockMs: 10,
    queue,
    log,
    metrics,
    database: {
      ...room.database,
      tryLock() {
        rounds++;
        return Promise.resolve(undefined);
      },
    },
  });
  await clock.pass(200);
  assert.ok(rounds >= 10, `${rounds} rounds`);
  assert.equal(asked, 1);
});

Deno.test("Sweeper removes login attempts of more than seven days ago, and no others", async () => {
  await using room = await DeliveryRoom.open();
  await room.owner.run(`insert into auth_attempts (account, address, failures, failed_at, succeeded_at)
    select 'old' || n, '192.0.2.1', 1, now() - interval '8 days', null from generate_series(1, 1500) n;
    insert into auth_attempts (account, address, failures, failed_at, succeeded_at) values
      ('young', '192.0.2.1', 1, now(), null),
      ('known', '192.0.2.1', 0, now() - interval '8 days', now() - interval '6 days')`);
  await using _sweeper = sweeper(room);
  const left = () => room.owner.query("select account from auth_attempts order by account limit 3", []);
  while ((await left()).length > 2) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(await left(), [{ account: "known" }, { account: "young" }]);
});

Deno.test("takeLostDoorbells() measures by the head of the lane, and its gap doubles", async () => {
  await using room = await DeliveryRoom.open();
  const id = await room.submit();
  const sql = room.database.system;
  const { group } = room.account;
  await room.owner.query("update messages set next_attempt_at = now() - interval '10 min' where id = $1", [
    id,
  ]);
  const longAgo = [{ group, rungAt: new Date(Date.now() - 11 * 60_000) }];
  assert.deepEqual(await takeLostDoorbells(sql, longAgo, 20_000, 300_000, 10), []);
  const now = [{ group, rungAt: new Date() }];
  const gaps: number[] = [];
  for (let time = 0; time < 3; time++) {
    const taken = await takeLostDoorbells(sql, now, 20_000, 300_000, 10);
    assert.deepEqual(taken.map((orphan) => orphan.id), [id]);
    assert.deepEqual(await takeLostDoorbells(sql, now, 20_000, 300_000, 10), []);
    const [row] = await room.owner.query(
      "select round(extract(epoch from ring_after - now()) / 60)::int as minutes from messages where id = $1",
      [id],
    );
    gaps.push(Number(row?.["minutes"]));
    await room.owner.query("update messages set ring_after = now() where id = $1", [id]);
  }
  assert.deepEqual(gaps, [5, 10, 20]);
});

Deno.test("takeExpiredClaims() leaves claims in force alone, and a claim starts the gaps anew", async () => {
  await using room = await DeliveryRoom.open();
  await using crew = room.crew();
  const sql = room.database.system;
  const id = await room.submit();
  const claimed = await crew.records.claim(id, crew.stopped);
  assert.equal(claimed.kind, "claimed");
  assert.deepEqual(await takeExpiredClaims(sql, 300_000, 10), []);
  await room.owner.query("update messages set claimed_until = now() - interval '1 s' where id = $1", [id]);
  assert.equal((await takeExpiredClaims(sql, 300_000, 10)).length, 1);
  assert.deepEqual(await takeExpiredClaims(sql, 300_000, 10), []);
  await using other = room.crew({ name: "other" });
  assert.equal((await other.records.claim(id, crew.stopped)).kind, "claimed");
  const [row] = await room.owner.query("select rings, ring_after, claims from messages where id = $1", [id]);
  assert.deepEqual(row, { rings: 0, ring_after: null, claims: 2 });
});

Deno.test("ringAll() rings in order of the time due, each at its time", async () => {
  await using room = await DeliveryRoom.open();
  const ids: MessageId[] = [];
  for (const minutes of [-2, -1, 3]) {
    const id = await room.submit();
    ids.push(id);
    await room.owner.query(
      "update messages set next_attempt_at = now() + make_interval(mins => $2) where id = $1",
      [id, minutes],
    );
  }
  const count = await ringAll({
    sql: room.database.system,
    queue: room.queue,
    signal: new AbortController().signal,
    onRung: () => {},
  });
  assert.equal(count, 3);
  const rung = await room.queue.reserve(10, 1000);
  assert.deepEqual(rung.map(({ message }) => message), ids.slice(0, 2));
  assert.equal((await room.queue.depth()).delayed, 1);
});

Deno.test("Sweeper warns of a queue that lost its contents, and not of one that is used for the first time", async () => {
  await using room = await DeliveryRoom.open();
  const told = () =>
    room.log.lines.filter(({ sentence }) => /^queue (lost|used)/.test(sentence)).map(({ level, sentence }) =>
      `${level} ${sentence}`
    );
  await using _sweeper = sweeper(room);
  await settled(room);
  assert.deepEqual(told(), ["info queue used for the first time"]);
  await room.owner.run("delete from queue_epoch");
  while (told().length < 2) await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(told().slice(1), ["warn queue lost its contents"]);
});
