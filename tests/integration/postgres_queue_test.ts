import assert from "node:assert/strict";
import { type GroupId, type MessageId, newId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { migrateUp } from "../../lib/postgres/migrate.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import { migrations } from "../../migrations/mod.ts";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { startPostgres } from "../../services/dev/postgres.ts";
import { queueContract } from "../contracts/queue_contract.ts";
import { patienceMs } from "../support/doorbells.ts";
import { freePort } from "../support/ports.ts";
import { testDatabase } from "../support/postgres.ts";
import { startTcpRelay } from "../support/tcp_relay.ts";

const role = "smtp_proxy_worker";

queueContract({ name: "PostgresQueue", keepsLeases: false }, async () => {
  await using stack = new AsyncDisposableStack();
  const test = stack.use(await testDatabase());
  const url = new URL(test.urlFor(role));
  const relay = stack.use(startTcpRelay(Number(url.port)));
  url.port = String(relay.port);
  const databases = stack.use(new AsyncDisposableStack());
  const held = stack.move();
  return {
    open({ timeoutMs }) {
      const database = databases.use(
        openDatabase({ url: url.href, role, poolMax: 5, connectTimeoutMs: timeoutMs }),
      );
      return Promise.resolve(openPostgresQueue({ database, timeoutMs }));
    },
    async lose() {
      await using session = await openSession({ url: test.ownerUrl });
      await session.run("truncate queue_entries, queue_delayed, queue_epoch restart identity");
    },
    cut: () => relay.cut(),
    hang: () => relay.hang(),
    mend: () => relay.mend(),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
});

Deno.test("PostgresQueue: reserve() meets an entry that became visible after later ones were taken", async () => {
  await using test = await testDatabase();
  await using database = openDatabase({ url: test.urlFor(role), role });
  await using queue = openPostgresQueue({ database });
  const group = newId<GroupId>();
  const [late, soon] = [newId<MessageId>(), newId<MessageId>()];
  await using owner = await openSession({ url: test.ownerUrl });
  await queue.push([{ group, message: soon }]);
  assert.equal((await queue.reserve(10, patienceMs)).length, 1);
  await owner.run("begin");
  await owner.query("insert into queue_entries (group_id, message) values ($1, $2)", [group, late]);
  await queue.push([{ group, message: soon }]);
  assert.deepEqual((await queue.reserve(10, patienceMs)).map(({ message }) => message), [soon]);
  await owner.run("commit");
  assert.deepEqual((await queue.reserve(10, patienceMs)).map(({ message }) => message), [late]);
});

/** What workers who listen hear, and a word of our own behind it, after which nothing said before is outstanding. */
async function openEar(ownerUrl: string) {
  await using stack = new AsyncDisposableStack();
  const heard: string[] = [];
  const news = new EventTarget();
  const listening = Promise.withResolvers<void>();
  const ear = stack.use(openDatabase({ url: ownerUrl }));
  const hear = (payload: string) => {
    heard.push(payload);
    news.dispatchEvent(new Event("news"));
  };
  stack.use(ear.listen("queue_rung", hear, listening.resolve));
  await listening.promise;
  const held = stack.move();
  const until = async (isEnough: () => boolean) => {
    while (!isEnough()) {
      await new Promise((resolve) => news.addEventListener("news", resolve, { once: true }));
    }
  };
  return {
    heard,
    hears: (count: number) => until(() => heard.length >= count),
    async last() {
      await ear.system`select pg_notify('queue_rung', 'last')`;
      await until(() => heard.includes("last"));
    },
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

Deno.test("PostgresQueue: a lone ring with a row is told at once, more within the gap not before its end", async () => {
  await using test = await testDatabase();
  await using ear = await openEar(test.ownerUrl);
  await using database = openDatabase({ url: test.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  await using queue = openPostgresQueue({ database, notifyGapMs: 3_600_000 });
  queue.rowBells?.rang();
  await ear.hears(1);
  for (let n = 0; n < 100; n++) queue.rowBells?.rang();
  await ear.last();
  assert.deepEqual(ear.heard, ["", "last"]);
});

Deno.test("PostgresQueue: many rings with rows within the gap are told as one more", async () => {
  await using test = await testDatabase();
  await using ear = await openEar(test.ownerUrl);
  await using database = openDatabase({ url: test.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  const queue = openPostgresQueue({ database });
  for (let n = 0; n < 100; n++) queue.rowBells?.rang();
  await ear.hears(2);
  await queue[Symbol.asyncDispose]();
  await ear.last();
  assert.deepEqual(ear.heard, ["", "", "last"]);
});

Deno.test("PostgresQueue: intake may push what is due and no more, a group nothing", async () => {
  await using test = await testDatabase();
  const bell = { group: newId<GroupId>(), message: newId<MessageId>() };
  await using intake = openDatabase({ url: test.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" });
  await using pushing = openPostgresQueue({ database: intake });
  const pushed = [...await pushing.push([bell, bell]), ...await pushing.push([bell], 1_000)];
  assert.deepEqual(pushed.map(({ ok }) => ok), [true, true, false]);
  await pushing.ping();
  await assert.rejects(pushing.reserve(1, 0), /permission denied/);
  await using group = openDatabase({ url: test.urlFor("smtp_proxy_group"), role: "smtp_proxy_group" });
  await using nothing = openPostgresQueue({ database: group });
  const [refused] = await nothing.push([bell]);
  assert.ok(refused && !refused.ok && !refused.doubtful);
  assert.match(refused.error.message, /permission denied/);
  await assert.rejects(nothing.depth(), /permission denied/);
  await assert.rejects(nothing.epoch(), /permission denied/);
});

Deno.test("PostgresQueue: a crash of the server takes the epoch with the entries", async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_queue_" });
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  await Deno.chmod(folder, 0o711);
  const options = { dir: `${folder}/postgres`, port: freePort(), password: "queue" };
  stack.defer(() => removeCluster(options.dir));
  const server = stack.use(await startPostgres(options));
  await migrateUp({ url: server.url, migrations });
  const database = stack.use(openDatabase({ url: server.url, role, connectTimeoutMs: patienceMs }));
  const queue = stack.use(openPostgresQueue({ database }));
  await queue.beginEpoch("before");
  const lost = Array.from({ length: 20 }, () => ({ group: newId<GroupId>(), message: newId<MessageId>() }));
  await queue.push(lost);
  assert.equal((await queue.reserve(5, patienceMs)).length, 5);
  // A backend that is killed makes the server start again, with recovery.
  const session = stack.use(await openSession({ url: server.url }));
  const [backend] = await session.query("select pg_backend_pid() as pid", []);
  Deno.kill(Number(backend?.["pid"]), "SIGKILL");
  for (let isLost = false; !isLost;) isLost = await queue.epoch().then((epoch) => epoch === undefined, isOut);
  assert.deepEqual(await queue.heads(), []);
  const bell = { group: newId<GroupId>(), message: newId<MessageId>() };
  assert.deepEqual(await queue.push([bell]), [{ ok: true }]);
  assert.deepEqual((await queue.reserve(5, patienceMs)).map(({ message }) => message), [bell.message]);
});

function isOut(error: unknown): false {
  assert.ok(error instanceof Error);
  return false;
}
