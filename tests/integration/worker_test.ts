import assert from "node:assert/strict";
import type { GroupId, MessageId } from "../../lib/ids.ts";
import { succeedWorker } from "../../lib/messages/claims_table.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { deliver } from "../../services/queue-worker/deliver.ts";
import type { OpenedCrew } from "../../services/queue-worker/open_crew.ts";
import { takingSettings, whatIsDown } from "../../services/queue-worker/open_worker.ts";
import { Presence, takeName } from "../../services/queue-worker/presence.ts";
import { Worker } from "../../services/queue-worker/worker.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

function worker(room: DeliveryRoom, crew: OpenedCrew, hands = 40): Worker {
  return new Worker({
    queue: room.queue,
    hands,
    blockMs: 500,
    run: (lease) => deliver(lease, crew),
    log: room.log,
  });
}

async function ring(room: DeliveryRoom, ids: readonly MessageId[]): Promise<void> {
  await room.queue.push(ids.map((message) => ({ message, group: room.account.group })));
}

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

Deno.test("Worker delivers what rings, each message once", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const ids: MessageId[] = [];
  for (let n = 0; n < 200; n++) ids.push(await room.submit([`r${n}@example.net`]));
  await ring(room, ids);
  const running = worker(room, crew);
  await until(() => sink.mails.length >= 200);
  await running.drain();
  assert.deepEqual(
    sink.mails.flatMap(({ to }) => to).sort(),
    ids.map((_, n) => `<r${n}@example.net>`).sort(),
  );
  const [row] = await room.owner.query(
    "select count(*)::int as n from messages where status = 'delivered'",
    [],
  );
  assert.equal(row?.["n"], 200);
});

Deno.test("Worker has no more calls in progress than there are slots", async () => {
  let begun = 0;
  let most = 0;
  const limit = performance.now() + 60_000;
  await using sink: SmtpSink = await SmtpSink.open({
    script: ({ at }) => {
      if (at === "MAIL") most = Math.max(most, ++begun - sink.mails.length);
      // Nobody is done before all slots are taken.
      const isFull = () => most >= 3 || performance.now() > limit;
      return at === "dot" ? { after: until(isFull) } : undefined;
    },
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew({ slots: 3 });
  const ids: MessageId[] = [];
  for (let n = 0; n < 60; n++) ids.push(await room.submit());
  await ring(room, ids);
  const running = worker(room, crew, 12);
  await until(() => sink.mails.length >= 60);
  await running.drain();
  assert.equal(most, 3);
});

Deno.test("Worker.drain() finishes calls in progress and hands the rest back as it was", async () => {
  let held = 0;
  const answers = Promise.withResolvers<void>();
  await using sink = await SmtpSink.open({
    script: ({ at }) => {
      if (at !== "dot") return undefined;
      held++;
      return { after: answers.promise };
    },
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew({ slots: 2 });
  const ids: MessageId[] = [];
  for (let n = 0; n < 8; n++) ids.push(await room.submit());
  await ring(room, ids);
  const running = worker(room, crew, 8);
  await until(() => held === 2);
  crew.drain();
  const drained = running.drain();
  answers.resolve();
  await drained;
  assert.equal(sink.mails.length, 2);
  const rows = await room.owner.query(
    "select status, count(*)::int as n, max(attempts) as attempts from messages group by 1 order by 1",
    [],
  );
  assert.deepEqual(rows, [
    { status: "delivered", n: 2, attempts: 1 },
    { status: "queued", n: 6, attempts: 0 },
  ]);
  const started = await room.owner.query("select id from delivery_logs where status = 'started'", []);
  assert.deepEqual(started, []);
  await using next = room.crew();
  const after = worker(room, next);
  await until(() => sink.mails.length === 8);
  await after.drain();
});

Deno.test("Worker waits for the next message as long as is set, and drains meanwhile", async () => {
  await using room = await DeliveryRoom.open();
  const waits: number[] = [];
  const queue = new Proxy(room.queue, {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name !== "reserve") return typeof value === "function" ? value.bind(target) : value;
      return (max: number, waitMs: number, skip: ReadonlySet<GroupId>, signal: AbortSignal) => {
        waits.push(waitMs);
        return target.reserve(max, waitMs, skip, signal);
      };
    },
  });
  const taking = takingSettings({ workers: 1, blockTimeout: 60_000 });
  const running = new Worker({ ...taking, queue, run: () => Promise.resolve(), log: room.log });
  await until(() => waits.length > 0);
  await running.drain();
  assert.deepEqual(waits, [60_000]);
});

Deno.test("whatIsDown() names a store that is not where it was", async () => {
  await using room = await DeliveryRoom.open();
  const { database, queue } = room;
  const path = await Deno.makeTempDir({ prefix: "smtp_proxy_worker_" });
  await using store = await openStore({ type: "local", path: `${path}/messages`, instance: "0", minFree: 0 });
  assert.deepEqual(await whatIsDown({ database, queue, store }), []);
  await Deno.remove(path, { recursive: true });
  assert.deepEqual(await whatIsDown({ database, queue, store }), ["storage"]);
});

Deno.test("Worker leaves room for other groups while one holds on to its messages", async () => {
  await using room = await DeliveryRoom.open();
  const other = crypto.randomUUID();
  const seen: string[] = [];
  const release = Promise.withResolvers<void>();
  const running = new Worker({
    queue: room.queue,
    hands: 8,
    blockMs: 100,
    log: room.log,
    run: async ({ group }) => {
      seen.push(group);
      if (group === room.account.group) await release.promise;
    },
  });
  await room.queue.push(
    Array.from({ length: 50 }, () => ({
      message: crypto.randomUUID() as MessageId,
      group: room.account.group,
    })),
  );
  await until(() => seen.length >= 6);
  await room.queue.push([{
    message: crypto.randomUUID() as MessageId,
    group: other as typeof room.account.group,
  }]);
  await until(() => seen.includes(other));
  assert.ok(seen.filter((group) => group === room.account.group).length <= 7);
  const drained = running.drain();
  release.resolve();
  await drained;
});

Deno.test("succeedWorker() also ends claims of a process that was gone before it had the name", async () => {
  await using room = await DeliveryRoom.open();
  const sql = room.database.system;
  const [first, own] = [crypto.randomUUID(), crypto.randomUUID()];
  await room.owner.query("insert into workers (name, incarnation) values ('host:1', $1)", [first]);
  const holders = [`host:1/${first}`, `host:1/${crypto.randomUUID()}`, `host:1/${own}`, `host:10/${first}`];
  for (const holder of holders) {
    await room.owner.query(
      `update messages set status = 'processing', claim = 1, claimed_by = $2,
        claimed_until = now() + interval '1 min' where id = $1`,
      [await room.submit(), holder],
    );
  }
  assert.equal(await succeedWorker(sql, "host:1", first, own), 2);
  assert.equal(await succeedWorker(sql, "host:1", first, own), undefined);
  const ended = await room.owner.query("select claimed_by from messages where claimed_until <= now()", []);
  assert.deepEqual(ended.map((row) => row["claimed_by"]).sort(), holders.slice(0, 2).sort());
});

Deno.test("succeedWorker() lets what was rung for the process before be rung again at once", async () => {
  await using room = await DeliveryRoom.open();
  const sql = room.database.system;
  const [first, own] = [crypto.randomUUID(), crypto.randomUUID()];
  await room.owner.query("insert into workers (name, incarnation) values ('host:1', $1)", [first]);
  await room.submit();
  await room.owner.run("update messages set rings = 3, ring_after = now() + interval '20 min'");
  assert.equal(await succeedWorker(sql, "host:1", first, own), 0);
  const rows = await room.owner.query("select rings, ring_after from messages", []);
  assert.deepEqual(rows, [{ rings: 0, "ring_after": null }]);
});

Deno.test("Presence ends the claims of the process that had the name before, once that has gone silent", async () => {
  await using room = await DeliveryRoom.open();
  const sql = room.database.system;
  const [gone, next] = [crypto.randomUUID(), crypto.randomUUID()];
  await room.owner.query("insert into workers (name, incarnation, seen_at) values ('host:0', $1, now())", [
    gone,
  ]);
  await using dead = room.crew({ name: "host:0" });
  const id = await room.submit();
  await dead.records.claim(id, dead.stopped);
  await room.owner.query("update messages set claimed_by = 'host:0/' || $2 where id = $1", [id, gone]);
  await room.owner.run("update workers set seen_at = now()");
  let freed = 0;
  await using _presence = new Presence({
    sql,
    name: "host:0",
    incarnation: next,
    log: room.log,
    onFreed: () => freed++,
  });
  await until(async () => (await room.owner.query("select 1 from workers", [])).length === 1);
  assert.equal(freed, 0);
  await room.owner.run("update workers set seen_at = now() - interval '7 s'");
  await until(() => freed === 1);
  const [row] = await room.owner.query(
    "select m.claimed_until <= clock_timestamp() as ended, w.incarnation from messages m, workers w",
    [],
  );
  assert.deepEqual(row, { ended: true, incarnation: next });
  await using crew = room.crew();
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
});

Deno.test("Presence without a port of its own first watches whether the process before is really silent", async () => {
  await using room = await DeliveryRoom.open();
  const [before, next] = [crypto.randomUUID(), crypto.randomUUID()];
  await room.owner.query(
    "insert into workers (name, incarnation, seen_at) values ('host:0', $1, now() - interval '1 h')",
    [before],
  );
  const { log } = room;
  let asked = 0;
  const sql = ((...query: Parameters<typeof room.database.system>) => {
    asked++;
    return room.database.system(...query);
  }) as typeof room.database.system;
  const options = { sql, name: "host:0", incarnation: next, log, onFreed: () => {} };
  const holds = async (incarnation: string) =>
    (await room.owner.query("select 1 from workers where incarnation = $1", [incarnation])).length === 1;
  {
    await using _presence = new Presence({ ...options, watchMs: 3_600_000 });
    await until(() => asked > 1);
    assert.equal(await holds(before), true);
  }
  await using _presence = new Presence({ ...options, watchMs: 100 });
  await until(() => holds(next));
});

Deno.test("takeName() gives a name to one process at a time, and to the next when that is gone", async () => {
  await using room = await DeliveryRoom.open();
  const { signal } = new AbortController();
  const first = await takeName(room.database, "host:0", signal);
  assert.ok(first);
  assert.equal(await takeName(room.database, "host:0", signal, 0), undefined);
  assert.equal(await takeName(room.database, "host:0", AbortSignal.abort()), undefined);
  await using other = await takeName(room.database, "host:1", signal);
  assert.ok(other);
  const waiting = takeName(room.database, "host:0", signal, 60_000);
  // As when its process is killed: the connection goes, and the lock with it.
  await room.owner.run(`select pg_terminate_backend(pid) from pg_locks
    where locktype = 'advisory' and objid = (hashtextextended('smtp_proxy.worker.host:0', 0) & 4294967295)::oid`);
  await using next = await waiting;
  assert.ok(next);
  await first[Symbol.asyncDispose]();
});
