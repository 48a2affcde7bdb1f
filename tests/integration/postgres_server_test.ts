import assert from "node:assert/strict";
import { join } from "node:path";
import process from "node:process";
import { openSession } from "../../lib/postgres/database.ts";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { type PostgresServer, startPostgres } from "../../services/dev/postgres.ts";
import { until } from "../../services/dev/processes.ts";
import { freePort } from "../support/ports.ts";
import { processTree } from "../support/process_tree.ts";

/** A folder for one cluster that the server's user may enter, gone with the cluster when disposed. */
async function place(mode = 0o711) {
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_postgres_" });
  await Deno.chmod(folder, mode);
  const options = { dir: join(folder, "postgres"), port: freePort(), password: "it's / secret" };
  return {
    options,
    async [Symbol.asyncDispose]() {
      await removeCluster(options.dir);
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function ask(server: PostgresServer, statement: string): Promise<readonly Record<string, unknown>[]> {
  await using session = await openSession({ url: server.url });
  return await session.run(statement);
}

Deno.test("startPostgres() makes commits durable unless it is told otherwise, and listens on loopback alone", async () => {
  await using here = await place();
  const settings = `select string_agg(name || '=' || setting, ' ' order by name) as found from pg_settings
    where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'listen_addresses', 'server_version')`;
  for (const [durable, word] of [[true, "on"], [false, "off"]] as const) {
    await using server = await startPostgres({ ...here.options, durable });
    const [row] = await ask(server, settings);
    assert.match(
      String(row?.["found"]),
      new RegExp(
        `^fsync=${word} full_page_writes=${word} listen_addresses=127\\.0\\.0\\.1 ` +
          `server_version=18\\.\\d+ synchronous_commit=${word}$`,
      ),
    );
  }
});

Deno.test("startPostgres() keeps the data from one start to the next, and a log beside it", async () => {
  await using here = await place();
  const first = await startPostgres(here.options);
  await ask(first, "create table kept as select 7 as number");
  await first.stop();
  await first.stop();
  await using second = await startPostgres(here.options);
  assert.deepEqual(await ask(second, "select * from kept"), [{ number: 7 }]);
  const logs = await Array.fromAsync(Deno.readDir(join(here.options.dir, "log")));
  assert.match(
    await Deno.readTextFile(join(here.options.dir, "log", logs[0]?.name ?? "")),
    /ready to accept/,
  );
});

Deno.test("startPostgres() takes over what another process left running, and loses nothing of it", async () => {
  await using here = await place();
  const left = await startPostgres(here.options);
  await ask(left, "create table kept as select 7 as number");
  await using next = await startPostgres(here.options);
  await left.ended;
  assert.notEqual(next.pid, left.pid);
  assert.deepEqual(await ask(next, "select * from kept"), [{ number: 7 }]);
});

Deno.test("startPostgres() comes up again after a crash with sessions open", async () => {
  await using here = await place();
  const crashed = await startPostgres(here.options);
  await using session = await openSession({ url: crashed.url });
  await session.run("create table kept as select 7 as number");
  process.kill(crashed.pid, "SIGKILL");
  await crashed.ended;
  await using next = await startPostgres(here.options);
  assert.deepEqual(await ask(next, "select * from kept"), [{ number: 7 }]);
});

Deno.test("startPostgres() waits for the sessions of a killed server to end", async () => {
  await using here = await place();
  const killed = await startPostgres(here.options);
  await using session = await openSession({ url: killed.url });
  const [backend] = await session.run(
    "create table kept as select 7 as number; select pg_backend_pid() as pid",
  );
  const left = Number(backend?.["pid"]);
  // However long its log is.
  await Deno.writeTextFile(join(here.options.dir, "log", "postgresql-old.log"), "LOG:  old\n".repeat(1000));
  process.kill(left, "SIGSTOP");
  process.kill(killed.pid, "SIGKILL");
  await killed.ended;
  const starting = startPostgres(here.options);
  for (const isTried of [true, false]) {
    const tried = async () => (await processTree(Deno.pid)).length > 1;
    assert.equal(await until(async () => (await tried()) === isTried, 100_000), true);
  }
  process.kill(left, "SIGCONT");
  await using next = await starting;
  assert.deepEqual(await ask(next, "select * from kept"), [{ number: 7 }]);
});

Deno.test("startPostgres() says which port is taken", async () => {
  await using here = await place();
  using _listener = Deno.listen({ hostname: "127.0.0.1", port: here.options.port });
  await assert.rejects(
    startPostgres(here.options),
    new RegExp(`port ${here.options.port} on 127.0.0.1 is taken`),
  );
});

Deno.test("startPostgres() says why the server does not come up", async () => {
  await using here = await place();
  await (await startPostgres(here.options)).stop();
  await Deno.writeTextFile(join(here.options.dir, "postgresql.conf"), "no_such_setting = on\n");
  await assert.rejects(startPostgres(here.options), /Cannot start PostgreSQL in .*no_such_setting/s);
});

Deno.test("startPostgres() works in a folder that only this user may enter, and starts anew when it was removed", async () => {
  await using here = await place(0o700);
  const first = await startPostgres(here.options);
  await ask(first, "create table kept as select 7 as number");
  await first.stop();
  await using again = await startPostgres(here.options);
  assert.equal((await ask(again, "select * from kept")).length, 1);
  await again.stop();
  await Deno.remove(here.options.dir, { recursive: true });
  await using anew = await startPostgres(here.options);
  assert.deepEqual(await ask(anew, "select to_regclass('kept') as found"), [{ found: null }]);
});

Deno.test("stop() ends open sessions and resolves when the server is gone", async () => {
  await using here = await place();
  const server = await startPostgres(here.options);
  await using session = await openSession({ url: server.url });
  await server.stop();
  assert.equal(await until(() => isFree(here.options.port), 0), true);
  await assert.rejects(session.run("select 1"));
});

function isFree(port: number): boolean {
  Deno.listen({ hostname: "127.0.0.1", port }).close();
  return true;
}
