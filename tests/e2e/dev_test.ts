import assert from "node:assert/strict";
import { migrations } from "../../migrations/mod.ts";
import { join } from "node:path";
import process from "node:process";
import { until } from "../../services/dev/processes.ts";
import { type DevPlace, devPlace, startDev } from "../support/dev_process.ts";

/** Everything that ran from the place is gone, within the time a person waits. */
async function assertGone(place: DevPlace, limitMs: number): Promise<void> {
  await until(async () => (await place.processes()).length === 0 && place.taken().length === 0, limitMs);
  assert.deepEqual(await place.processes(), []);
  assert.deepEqual(place.taken(), []);
}

Deno.test("dev started by npx stops everything when npx is told to end, and keeps the data", async () => {
  await using place = await devPlace();
  for (const round of ["first", "second"]) {
    const dev = await startDev(place, "npx");
    await dev.ready;
    assert.equal(dev.output().includes(`${migrations.length} applied`), round === "first", dev.output());
    assert.match(
      dev.output(),
      /npx -y deno@[\d.]+ task client --host 127\.0\.0\.1 --port \d+ .*\n.*swaks --server 127\.0\.0\.1:\d+ /,
    );
    process.kill(dev.pid, "SIGTERM");
    await dev.silent;
    await assertGone(place, 10_000);
    await dev.ended;
  }
});

Deno.test("dev stops everything when its whole process group is told to end", async () => {
  await using place = await devPlace();
  const dev = await startDev(place, "npx");
  await dev.ready;
  process.kill(-dev.pid, "SIGTERM");
  await dev.silent;
  await assertGone(place, 10_000);
  await dev.ended;
});

for (const signal of ["SIGINT", "SIGHUP"] as const) {
  Deno.test(`dev ends with 0 on ${signal}`, async () => {
    await using place = await devPlace();
    const dev = await startDev(place, "task");
    await dev.ready;
    process.kill(await place.devPid(), signal);
    await dev.silent;
    assert.equal(await dev.ended, 0, dev.output());
    await assertGone(place, 0);
  });
}

Deno.test("a killed dev leaves no service, and the next one takes its PostgreSQL over", async () => {
  await using place = await devPlace();
  const killed = await startDev(place, "task");
  await killed.ready;
  process.kill(await place.devPid(), "SIGKILL");
  const services = async () =>
    (await place.processes()).filter(({ command }) => command.includes("/main.ts"));
  assert.equal(await until(async () => (await services()).length === 0, 5_000), true);
  assert.deepEqual(place.taken(), ["SMTP_PROXY_DEV_POSTGRES_PORT"]);
  await Promise.all([killed.silent, killed.ended]);
  const next = await startDev(place, "task");
  await next.ready;
  process.kill(await place.devPid(), "SIGTERM");
  await next.silent;
  assert.equal(await next.ended, 0, next.output());
  await assertGone(place, 0);
});

Deno.test("dev names every port that is taken and starts nothing", async () => {
  await using place = await devPlace();
  const variables = ["SMTP_PROXY_SMTP_PORT", "SMTP_PROXY_DEV_POSTGRES_PORT"];
  const listeners = variables.map((name) =>
    Deno.listen({ hostname: "127.0.0.1", port: place.ports[name] ?? 0 })
  );
  const dev = await startDev(place, "task");
  assert.notEqual(await dev.ended, 0);
  await dev.silent;
  for (const name of variables) {
    assert.match(dev.output(), new RegExp(`port ${place.ports[name]} .* set ${name} `));
  }
  assert.deepEqual(await place.processes(), []);
  for (const listener of listeners) listener.close();
});

Deno.test("dev reports a crashed service, stops the others and ends with another status than 0", async () => {
  await using place = await devPlace();
  const dev = await startDev(place, "task");
  await dev.ready;
  const worker = (await place.processes()).find(({ command }) => command.includes("queue-worker/main.ts"));
  process.kill(worker?.pid ?? 0, "SIGKILL");
  assert.notEqual(await dev.ended, 0);
  await dev.silent;
  assert.match(dev.output(), /^queue-worker ended by itself with status \d+: stopping everything$/m);
  await assertGone(place, 0);
});

Deno.test("dev reports a crashed PostgreSQL, and has another one while the services stop", async () => {
  await using place = await devPlace();
  const dev = await startDev(place, "task");
  await dev.ready;
  const server = (await place.processes()).find(({ command }) => / -D .*postgres/.test(command));
  process.kill(server?.pid ?? 0, "SIGKILL");
  assert.notEqual(await dev.ended, 0);
  await dev.silent;
  assert.match(dev.output(), /^PostgreSQL ended by itself: stopping everything$/m);
  const log = join(place.folder, "postgres", "log");
  const texts = (await Array.fromAsync(Deno.readDir(log))).map(({ name }) =>
    Deno.readTextFile(join(log, name))
  );
  assert.match(
    (await Promise.all(texts)).join(),
    /was not properly shut down[^]*database system is shut down/,
  );
  await assertGone(place, 0);
});

Deno.test("dev refuses a data folder that another dev uses", async () => {
  await using place = await devPlace();
  const first = await startDev(place, "task");
  await first.ready;
  const second = await startDev(place, "task");
  assert.notEqual(await second.ended, 0);
  await second.silent;
  assert.match(second.output(), /another `dev` is running with it/);
  process.kill(await place.devPid(), "SIGTERM");
  await first.silent;
  assert.equal(await first.ended, 0);
});

Deno.test("dev lists every mistake of its settings and ends with 2", async () => {
  await using place = await devPlace();
  const dev = await startDev(place, "task", { SMTP_PROXY_SMTP_PORT: "many", SMTP_PROXY_QUEUE_WORKERS: "0" });
  assert.equal(await dev.ended, 2);
  await dev.silent;
  assert.match(dev.output(), /smtp\.port .*"many"[^]*queue\.workers .*"0"/);
});
