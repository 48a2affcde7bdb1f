import assert from "node:assert/strict";
import { migrations } from "../../migrations/mod.ts";
import { join } from "node:path";
import process from "node:process";
import { until } from "../../services/dev/processes.ts";
import { type DevPlace, devPlace, startDev } from "../support/dev_process.ts";

const limitMs = 60_000;

/** Everything that ran from the place is gone, at once or, where nobody tells of the end, a little later. */
async function assertGone(place: DevPlace, when: "now" | "soon"): Promise<void> {
  const isGone = async () => (await place.processes()).length === 0 && place.taken().length === 0;
  if (when === "soon") await until(isGone, limitMs);
  assert.deepEqual(await place.processes(), []);
  assert.deepEqual(place.taken(), []);
}

/** What the files of a folder hold, in the order in which they were written last: a log has a file for each day. */
async function textsOf(folder: string): Promise<string> {
  const files = await Promise.all(
    (await Array.fromAsync(Deno.readDir(folder))).map(async ({ name }) => {
      const path = join(folder, name);
      return {
        text: await Deno.readTextFile(path),
        writtenAt: (await Deno.stat(path)).mtime?.getTime() ?? 0,
      };
    }),
  );
  return files.toSorted((a, b) => a.writtenAt - b.writtenAt).map(({ text }) => text).join("");
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
    await assertGone(place, "soon");
    await dev.ended;
  }
});

Deno.test("dev stops everything when its whole process group is told to end", async () => {
  await using place = await devPlace();
  const dev = await startDev(place, "npx");
  await dev.ready;
  process.kill(-dev.pid, "SIGTERM");
  await dev.silent;
  await assertGone(place, "soon");
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
    await assertGone(place, "now");
  });
}

Deno.test("a killed dev leaves no service, and the next one takes its PostgreSQL over", async () => {
  await using place = await devPlace();
  const killed = await startDev(place, "task");
  await killed.ready;
  process.kill(await place.devPid(), "SIGKILL");
  const services = async () =>
    (await place.processes()).filter(({ command }) => command.includes("/main.ts"));
  // A process has no name any more a little before its ports are free.
  const areGone = async () => (await services()).length === 0 && place.taken().length <= 1;
  assert.equal(await until(areGone, limitMs), true);
  assert.deepEqual(place.taken(), ["SMTP_PROXY_DEV_POSTGRES_PORT"]);
  await Promise.all([killed.silent, killed.ended]);
  const next = await startDev(place, "task");
  await next.ready;
  process.kill(await place.devPid(), "SIGTERM");
  await next.silent;
  assert.equal(await next.ended, 0, next.output());
  await assertGone(place, "now");
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
  assert.ok(worker);
  process.kill(worker.pid, "SIGKILL");
  assert.notEqual(await dev.ended, 0);
  await dev.silent;
  assert.match(dev.output(), /^queue-worker ended by itself with status \d+: stopping everything$/m);
  await assertGone(place, "now");
});

Deno.test("dev reports a crashed PostgreSQL, and has another one while the services stop", async () => {
  await using place = await devPlace();
  const dev = await startDev(place, "task");
  await dev.ready;
  const server = (await place.processes()).find(({ command }) => / -D .*postgres/.test(command));
  assert.ok(server);
  process.kill(server.pid, "SIGKILL");
  assert.notEqual(await dev.ended, 0);
  await dev.silent;
  assert.match(dev.output(), /^PostgreSQL ended by itself: stopping everything$/m);
  // PostgreSQL's log is written by a process that ends after it.
  const log = join(place.folder, "postgres", "log");
  const recoveredAndStopped = /was not properly shut down[^]*database system is shut down/;
  await until(async () => recoveredAndStopped.test(await textsOf(log)), limitMs);
  assert.match(await textsOf(log), recoveredAndStopped);
  await assertGone(place, "now");
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
