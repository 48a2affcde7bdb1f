import assert from "node:assert/strict";
import { join } from "node:path";
import type { MessageId } from "../../lib/ids.ts";
import { readEpoch } from "../../lib/messages/orphans_table.ts";
import { openRedisQueue } from "../../lib/queue/redis_queue.ts";
import { deliver } from "../../services/queue-worker/deliver.ts";
import type { OpenedCrew } from "../../services/queue-worker/open_crew.ts";
import { Sweeper } from "../../services/queue-worker/sweep.ts";
import { Worker } from "../../services/queue-worker/worker.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

async function until(condition: () => Promise<boolean> | boolean): Promise<void> {
  while (!await condition()) await new Promise((resolve) => setTimeout(resolve, 20));
}

async function dataFolderOf(redis: TestRedis): Promise<string> {
  const [, folder] = await redis.command("CONFIG", "GET", "dir") as readonly [string, string];
  return join(folder, "appendonlydir");
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name } of Deno.readDir(from)) await Deno.copyFile(join(from, name), join(to, name));
}

Deno.test("mail is sent once each when Redis goes on with older data: what it forgot is rung, what it has again is not sent", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using redis = await startRedis();
  const { log, metrics, database } = room;
  await using queue = await openRedisQueue({
    address: redis.address,
    streamName: "smtp-proxy",
    groupName: "workers",
    leaseMs: 120_000,
    timeoutMs: 60_000,
    log,
  });
  // What it rang for too soon, and Redis then forgot, it rings for again a moment later.
  const times = { sweepAfterMs: 1_000, graceMs: 200, roundMs: 50 };
  await using _sweeper = new Sweeper({ database, queue, log, metrics, ...times });
  await until(async () => await readEpoch(database.system) !== undefined);
  await using crew = room.crew({ queue });
  const ring = (ids: readonly MessageId[]) =>
    queue.push(ids.map((message) => ({ message, group: room.account.group })));
  const work = (of: OpenedCrew) =>
    new Worker({ queue, hands: 40, blockMs: 200, run: (lease) => deliver(lease, of), log });

  const early = [await room.submit(["1@example.net"]), await room.submit(["2@example.net"])];
  await ring(early);
  const data = await dataFolderOf(redis);
  const older = `${data}.older`;
  await copyFolder(data, older);
  const first = work(crew);
  await until(() => sink.mails.length >= 2);
  await first.drain();
  const late = [await room.submit(["3@example.net"]), await room.submit(["4@example.net"])];
  await ring(late);

  const epoch = await queue.epoch();
  await redis.kill();
  await Deno.remove(data, { recursive: true });
  await copyFolder(older, data);
  await redis.restart();
  await until(() => queue.ping().then(() => true, () => false));
  assert.equal(await queue.epoch(), epoch, "by its mark alone nobody can tell");
  const second = work(crew);
  await until(() => sink.mails.length >= 4);
  await until(async () => {
    const { due, leased } = await queue.depth();
    return due + leased === 0;
  });
  await second.drain();
  const to = sink.mails.flatMap((mail) => mail.to).sort();
  assert.deepEqual(to, ["<1@example.net>", "<2@example.net>", "<3@example.net>", "<4@example.net>"]);
});
