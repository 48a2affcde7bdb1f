import assert from "node:assert/strict";
import { Secret } from "../../lib/config/secret.ts";
import { type GroupId, type MessageId, newId } from "../../lib/ids.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { openQueue, type QueueSettings } from "../../lib/queue/open_queue.ts";
import { memoryLog } from "../support/memory_log.ts";
import { testDatabase } from "../support/postgres.ts";
import { startRedis } from "../support/redis.ts";

const role = "smtp_proxy_worker";
const settings: QueueSettings = {
  redisAddr: "",
  redisUsername: "",
  redisPassword: new Secret(""),
  redisDb: 0,
  redisTls: false,
  redisCaFile: "",
  streamName: "smtp-proxy",
  groupName: "workers",
  lease: 120_000,
};

Deno.test("openQueue() is Redis when an address is set and PostgreSQL when none is", async () => {
  await using redis = await startRedis({ password: "secret" });
  await using test = await testDatabase();
  await using database = openDatabase({ url: test.urlFor(role), role });
  const around = { database, log: memoryLog() };
  const inRedis = { ...settings, redisAddr: redis.address, redisPassword: new Secret("secret"), redisDb: 3 };
  await using first = await openQueue(settings, around);
  await using second = await openQueue(inRedis, around);
  const bell = { group: newId<GroupId>(), message: newId<MessageId>() };
  await second.push([bell]);
  assert.deepEqual(await first.depth(), { due: 0, delayed: 0, leased: 0 });
  await first.push([bell, bell]);
  assert.deepEqual(await database.system`select count(*) as entries from queue_entries`, [{ entries: 2 }]);
  assert.deepEqual(await second.depth(), { due: 1, delayed: 0, leased: 0 });
});
