import assert from "node:assert/strict";
import { withinTime } from "../../lib/deadlines.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { CommitInDoubt, NoAnswer } from "../../lib/postgres/faults.ts";
import { testDatabase } from "../support/postgres.ts";
import { startTcpRelay } from "../support/tcp_relay.ts";
import { until } from "../support/until.ts";

const role = "smtp_proxy_worker";

/** A database behind a relay, with two connections that were used before. */
async function openRelayed() {
  await using stack = new AsyncDisposableStack();
  const test = stack.use(await testDatabase());
  const url = new URL(test.urlFor(role));
  const relay = stack.use(startTcpRelay(Number(url.port)));
  url.port = String(relay.port);
  const database = stack.use(
    openDatabase({ url: url.href, role, poolMax: 2, answerTimeoutMs: 200 }),
  );
  await Promise.all([askFor(1, database), askFor(2, database)]);
  const held = stack.move();
  return {
    database,
    relay,
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

function askFor(number: number, { system }: Pick<Database, "system">): Promise<readonly unknown[]> {
  return system`select ${number}::integer as n`;
}

/** Resolves when we have closed every connection. */
async function allClosed({ relay }: Awaited<ReturnType<typeof openRelayed>>): Promise<void> {
  await until("every connection is closed", () => relay.clients === 0);
}

Deno.test("A connection that does not answer in time is closed, and the next statement has a new one", async () => {
  await using stand = await openRelayed();
  stand.relay.hang();
  await assert.rejects(askFor(3, stand.database), NoAnswer);
  await assert.rejects(askFor(4, stand.database), NoAnswer);
  await allClosed(stand);
  stand.relay.mend();
  assert.deepEqual(await askFor(5, stand.database), [{ n: 5 }]);
});

Deno.test("A transaction that does not answer in time ends at once and its connection with it", async () => {
  await using stand = await openRelayed();
  stand.relay.hang();
  const fails = stand.database.transaction(async (system) => {
    // So that BEGIN is late before this is, which then ends with the connection.
    for (const start = performance.now(); performance.now() - start < 20;);
    await askFor(3, { system });
  });
  const commits = stand.database.transaction(() => Promise.resolve());
  await Promise.all([
    assert.rejects(fails, NoAnswer),
    assert.rejects(commits, (error) => error instanceof NoAnswer || error instanceof CommitInDoubt),
  ]);
  assert.deepEqual(stand.database.connections(), { active: 0, idle: 0, waiting: 0 });
  await allClosed(stand);
  stand.relay.mend();
  assert.deepEqual(await askFor(5, stand.database), [{ n: 5 }]);
});

Deno.test("A lock and a listener end although the server does not hang up", async () => {
  await using stand = await openRelayed();
  const lock = await stand.database.tryLock("test");
  const heard = Promise.withResolvers<void>();
  const listening = stand.database.listen("test", () => {}, heard.resolve);
  await heard.promise;
  stand.relay.hang();
  assert.ok(lock);
  await withinTime(60_000, Promise.all([lock, listening].map((one) => one[Symbol.asyncDispose]())));
});

Deno.test("A lock that cannot be asked for leaves no connection behind", async () => {
  await using test = await testDatabase();
  await using owner = await openSession({ url: test.ownerUrl });
  await owner.run("revoke execute on function pg_try_advisory_lock(bigint) from public");
  const applicationName = "test of locks";
  await using database = openDatabase({ url: test.urlFor(role), role, applicationName });
  await assert.rejects(database.tryLock("test"), { code: "42501" });
  const open = () =>
    owner.query("select 1 from pg_stat_activity where application_name = $1", [applicationName]);
  await until("the connection is closed", async () => (await open()).length === 0);
});
