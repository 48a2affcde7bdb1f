import assert from "node:assert/strict";
import { type GroupId, type MessageId, newId } from "../../lib/ids.ts";
import type { Doorbell, Queue } from "../../lib/queue/queue.ts";
import { openRedisQueue, type RedisQueueOptions } from "../../lib/queue/redis_queue.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { memoryLog } from "../support/memory_log.ts";
import { freePort } from "../support/ports.ts";
import { type RedisOptions, startRedis, type TestRedis } from "../support/redis.ts";
import { ensureRedis } from "../support/redis_program.ts";

/** Far longer than any test, so that nothing here is handed out again because its lease ended. */
const leaseMs = 3_600_000;
const patienceMs = 60_000;

async function withRedis(
  options: RedisOptions,
  work: (redis: TestRedis, open: (own?: Partial<RedisQueueOptions>) => Promise<Queue>) => Promise<void>,
): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis(options));
  await work(redis, async (own = {}) =>
    stack.use(
      await openRedisQueue({
        address: redis.address,
        streamName: "smtp-proxy",
        groupName: "workers",
        leaseMs,
        timeoutMs: patienceMs,
        log: memoryLog(),
        ...own,
      }),
    ));
}

Deno.test("RedisQueue: goes on through FLUSHALL while pushes and takers are at work", async () => {
  await withRedis({}, async (redis, open) => {
    const [pushing, taking] = [await open(), await open()];
    const seen = new Set<string>();
    const [before, after] = [someBells(400), someBells(400)];
    const pushed = new AbortController();
    const takers = [1, 2, 3].map(async () => {
      while (!pushed.signal.aborted || !after.every(({ message }) => seen.has(message))) {
        const leases = await taking.reserve(10, 500);
        if (leases.length === 0) await taking.ping();
        for (const lease of leases) seen.add(lease.message);
        await Promise.all(leases.map((lease) => taking.done(lease)));
      }
    });
    for (const bell of before) await pushing.push([bell]);
    await redis.command("FLUSHALL");
    for (const bell of after) assert.deepEqual(await pushing.push([bell]), [{ ok: true }]);
    pushed.abort();
    await Promise.all(takers);
    assert.deepEqual(await taking.depth(), { due: 0, delayed: 0, leased: 0 });
  });
});

Deno.test("RedisQueue: a lane whose consumer group was destroyed is read again from its start", async () => {
  await withRedis({}, async (redis, open) => {
    const queue = await open();
    const bells = someBells(4, newId<GroupId>());
    await queue.push(bells);
    await redis.command("XGROUP", "DESTROY", `{smtp-proxy}:${bells[0]?.group}`, "workers");
    assert.deepEqual(await takeMessages(queue, 4), messagesOf(bells));
  });
});

Deno.test("RedisQueue: nothing stays behind in the server when everything is done", async () => {
  await withRedis({}, async (redis, open) => {
    const queue = await open();
    await queue.push([...someBells(50), ...someBells(50, newId<GroupId>())]);
    await queue.push(someBells(5), 10);
    for (let count = 0; count < 105;) {
      const leases = await queue.reserve(20, patienceMs);
      await Promise.all(leases.map((lease) => queue.done(lease)));
      count += leases.length;
    }
    assert.deepEqual(await redis.command("KEYS", "*"), ["{smtp-proxy}:bell"]);
    assert.equal(await redis.command("XLEN", "{smtp-proxy}:bell"), 1);
  });
});

Deno.test("RedisQueue: what was pushed and taken outlives kill -9 of the server, and takers go on", async () => {
  await withRedis({}, async (redis, open) => {
    const [queue, other] = [await open(), await open()];
    const bells = someBells(30);
    await queue.push(bells);
    await queue.push(someBells(1), leaseMs);
    const held = await queue.reserve(10, patienceMs);
    await redis.kill();
    const [result] = await queue.push(someBells(1));
    assert.equal(result?.ok, false);
    const waiting = other.reserve(20, patienceMs);
    await redis.restart();
    const taken = [...await waiting];
    while (taken.length < 20) taken.push(...await other.reserve(20 - taken.length, patienceMs));
    assert.deepEqual([...held, ...taken].map(({ message }) => message).sort(), messagesOf(bells));
    for (const lease of taken) await other.done(lease);
    await answering(queue);
    for (const lease of held) await queue.done(lease);
    assert.deepEqual(await queue.depth(), { due: 0, delayed: 1, leased: 0 });
  });
});

Deno.test("RedisQueue: a server that stood still loses nothing, not even what it answered too late", async () => {
  await withRedis({}, async (redis, open) => {
    const [pushing, queue] = [await open(), await open({ timeoutMs: 1_000 })];
    const bells = someBells(10);
    await pushing.push(bells);
    const [kept] = await queue.reserve(1, patienceMs);
    assert.ok(kept);
    redis.pause();
    const [lost, results] = await Promise.allSettled([queue.reserve(5, 0), queue.push(someBells(2))]);
    assert.equal(lost.status, "rejected");
    assert.ok(
      results.status === "fulfilled" && results.value.every((result) => !result.ok && result.doubtful),
    );
    redis.resume();
    const rest = bells.filter(({ message }) => message !== kept.message);
    const seen = new Set<string>();
    while (!rest.every(({ message }) => seen.has(message))) {
      for (const { message } of await queue.reserve(10, patienceMs)) seen.add(message);
    }
    assert.ok(!seen.has(kept.message), "what is still held is not handed out again");
  });
});

Deno.test("RedisQueue: a doorbell whose end was not heard of rings again at once", async () => {
  await withRedis({}, async (redis, open) => {
    const queue = await open();
    await queue.push(someBells(1));
    const [lease] = await queue.reserve(1, patienceMs);
    assert.ok(lease);
    await redis.kill();
    await assert.rejects(queue.done(lease));
    await redis.restart();
    assert.deepEqual((await queue.reserve(1, patienceMs)).map(({ message }) => message), [lease.message]);
  });
});

Deno.test("RedisQueue: who starts again under its name is handed what it held before", async () => {
  await withRedis({}, async (_redis, open) => {
    const before = await open({ consumer: "worker@host#0" });
    const other = await open({ consumer: "worker@host#1" });
    const bells = someBells(6);
    await before.push(bells);
    const [mine, theirs] = [await before.reserve(3, patienceMs), await other.reserve(3, patienceMs)];
    await before[Symbol.asyncDispose]();
    const after = await open({ consumer: "worker@host#0" });
    assert.deepEqual(await takeMessages(after, 3), messagesOf(mine));
    assert.equal(theirs.length, 3);
    assert.deepEqual(await after.reserve(10, 0), []);
  });
});

Deno.test("RedisQueue: a server without memory refuses, and keeps what is delayed", async () => {
  await withRedis({}, async (redis, open) => {
    const queue = await open();
    const [delayed] = someBells(1);
    assert.ok(delayed);
    await queue.push([delayed], 1);
    await redis.command("CONFIG", "SET", "maxmemory", "1");
    const [result] = await queue.push(someBells(1));
    assert.ok(result && !result.ok && !result.doubtful);
    assert.match(result.error.message, /OOM/);
    await queue.reserve(1, 50).catch((error) => assert.match(String(error), /OOM/));
    await redis.command("CONFIG", "SET", "maxmemory", "0");
    assert.deepEqual(await takeMessages(queue, 1), [delayed.message]);
  });
});

Deno.test("openRedisQueue() says so when the password is wrong or missing", async () => {
  await withRedis({ password: "right" }, async (redis, open) => {
    const refused = new RegExp(`^Cannot use Redis at ${redis.address}: (WRONGPASS|NOAUTH)`);
    await assert.rejects(open({ password: "wrong" }), { message: refused });
    await assert.rejects(open(), { message: refused });
    await (await open({ password: "right" })).ping();
  });
});

Deno.test("openRedisQueue() opens when the server is away, and works when it comes", async () => {
  await using stack = new AsyncDisposableStack();
  const redis = stack.use(await startRedis());
  await redis.kill();
  const log = memoryLog();
  const queue = stack.use(
    await openRedisQueue({
      address: redis.address,
      streamName: "s",
      groupName: "g",
      leaseMs,
      timeoutMs: patienceMs,
      log,
    }),
  );
  assert.deepEqual((await queue.push(someBells(1))).map((result) => !result.ok && result.doubtful), [false]);
  await assert.rejects(queue.ping(), /Cannot reach Redis/);
  await redis.restart();
  const waiting = queue.reserve(1, patienceMs);
  await answering(queue);
  assert.deepEqual(await queue.push(someBells(1)), [{ ok: true }]);
  assert.equal((await waiting).length, 1);
  assert.deepEqual(
    log.lines.map(({ sentence }) => sentence).filter((sentence) => !/refused/.test(sentence)),
    [
      "queue connection lost",
      "queue connection restored",
    ],
  );
});

Deno.test("openRedisQueue() refuses an address that is none", async () => {
  const options = { streamName: "s", groupName: "g", leaseMs, log: memoryLog() };
  await assert.rejects(openRedisQueue({ ...options, address: "redis://host" }), /expected host:port/);
  const unknown = `127.0.0.1:${freePort()}`;
  await using queue = await openRedisQueue({ ...options, address: unknown });
  await assert.rejects(queue.ping(), /Cannot reach Redis/);
});

Deno.test("RedisQueue: an ACL user needs its own keys and these commands, nothing else", async () => {
  const commands = [
    "+@connection +eval +evalsha +time +get +set +exists +del +@stream +zadd +zrange +zrem +zcard",
    "-client -xgroup +xgroup|create -xinfo +xinfo|groups +xinfo|consumers -xtrim",
  ];
  const user = `user queue on >secret ~{smtp-proxy}:* resetchannels -@all ${commands.join(" ")}`;
  await withRedis({ config: [user] }, async (_redis, open) => {
    const queue = await open({ username: "queue", password: "secret", consumer: "worker" });
    const bells = someBells(5);
    const waiting = queue.reserve(5, patienceMs);
    await queue.push(bells);
    const [first, ...leases] = [...await waiting, ...await queue.reserve(5, 0)];
    assert.ok(first);
    await queue.again(first, 1);
    for (const lease of leases) await queue.done(lease);
    assert.deepEqual(await takeMessages(queue, 1), [first.message]);
    assert.equal(await queue.beginEpoch("mark"), "mark");
    assert.equal(await queue.epoch(), "mark");
    await queue.heads();
    assert.equal((await queue.depth()).leased, 1);
    const elsewhere = await open({ username: "queue", password: "secret", streamName: "other" });
    const [result] = await elsewhere.push(someBells(1));
    assert.ok(result && !result.ok && !result.doubtful);
    assert.match(result.error.message, /NOPERM|permission/i);
  });
});

Deno.test("RedisQueue: speaks TLS to a server whose authority it trusts, and to no other", async () => {
  const folder = await Deno.makeTempDir({ prefix: "smtp-proxy-tls-" });
  try {
    const { cert, key } = await selfSignedCertificate(new Date(), "localhost");
    const tls = { certificate: `${folder}/cert.pem`, key: `${folder}/key.pem` };
    await Deno.writeTextFile(tls.certificate, cert);
    await Deno.writeTextFile(tls.key, key);
    await withRedis({ tls }, async (redis, open) => {
      const address = redis.tlsAddress.replace("127.0.0.1", "localhost");
      const queue = await open({ address, tls: true, ca: cert });
      const bells = someBells(2);
      const waiting = queue.reserve(2, patienceMs);
      await queue.push(bells);
      assert.ok((await waiting).length > 0);
      await assert.rejects(open({ address, tls: true }), /Cannot use Redis at localhost:\d+: .*certificate/i);
      const { cert: stranger } = await selfSignedCertificate(new Date(), "localhost");
      await assert.rejects(open({ address, tls: true, ca: stranger }), /Cannot use Redis/);
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("ensureRedis() finds or fetches a server that runs", async () => {
  const program = await ensureRedis();
  await withRedis({ program }, async (redis) => {
    assert.equal(await redis.command("PING"), "PONG");
    await assert.rejects(redis.command("NONSENSE"), /unknown command/);
    assert.deepEqual(await redis.command("LRANGE", "none", "0", "-1"), []);
  });
});

async function takeMessages(queue: Queue, count: number): Promise<string[]> {
  const messages: string[] = [];
  while (messages.length < count) {
    const leases = await queue.reserve(count - messages.length, patienceMs);
    assert.ok(leases.length > 0, `only ${messages.length} of ${count} came`);
    messages.push(...leases.map(({ message }) => message));
  }
  return messages.sort();
}

async function answering(queue: Queue): Promise<void> {
  for (let isUp = false; !isUp;) {
    isUp = await queue.ping().then(() => true, () => false);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function someBells(count: number, group?: GroupId): Doorbell[] {
  return Array.from({ length: count }, () => ({
    message: newId<MessageId>(),
    group: group ?? newId<GroupId>(),
  }));
}

function messagesOf(bells: readonly Doorbell[]): string[] {
  return bells.map(({ message }): string => message).sort();
}
