import assert from "node:assert/strict";
import { openDatabase } from "../../lib/postgres/database.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import type { Queue } from "../../lib/queue/queue.ts";
import { QueueGate } from "../../services/smtp-server/queue_gate.ts";
import { testDatabase } from "../support/postgres.ts";
import { deliver, openStage } from "../support/smtp_wire.ts";
import { startTcpRelay } from "../support/tcp_relay.ts";

/** A real queue, the way to it, and a gate that stands before MAIL and tells when it opens. */
async function openScene() {
  await using stack = new AsyncDisposableStack();
  const test = stack.use(await testDatabase());
  const url = new URL(test.urlFor("smtp_proxy_intake"));
  const relay = stack.use(startTcpRelay(Number(url.port)));
  url.port = String(relay.port);
  const database = stack.use(
    openDatabase({ url: url.href, role: "smtp_proxy_intake", connectTimeoutMs: 1_000 }),
  );
  const queue = stack.use(openPostgresQueue({ database, timeoutMs: 1_000 }));
  const pings: boolean[] = [];
  const asked = new EventTarget();
  const ping: Queue["ping"] = async () => {
    try {
      await queue.ping();
      pings.push(true);
    } catch (error) {
      pings.push(false);
      throw error;
    } finally {
      asked.dispatchEvent(new Event("ping"));
    }
  };
  const changes: boolean[] = [];
  const opened = Promise.withResolvers<void>();
  const gate = stack.use(
    new QueueGate({ ping }, {
      probeMs: 10,
      onChange: (isDown) => {
        changes.push(isDown);
        if (!isDown) opened.resolve();
      },
    }),
  );
  const stage = stack.use(await openStage());
  stage.intake.ready = () => gate.check();
  const held = stack.move();
  return {
    relay,
    gate,
    stage,
    pings,
    changes,
    opened: opened.promise,
    probed: () => new Promise((resolve) => asked.addEventListener("ping", resolve, { once: true })),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

Deno.test("MAIL is refused while the queue is down, and accepted after a probe was answered", async () => {
  await using scene = await openScene();
  const { relay, gate, stage } = scene;
  await using wire = await stage.login();
  assert.match(await deliver(wire), /^250/);
  relay.cut();
  gate.close();
  // Whoever fails after the first closes nothing more.
  gate.close();
  await scene.probed();
  assert.equal(gate.isDown, true);
  assert.match(await wire.ask("MAIL FROM:<a@example.com>"), /^451 4\.3\.0 /);
  assert.equal(stage.intake.taken.length, 1);
  assert.deepEqual(scene.changes, [true]);
  relay.mend();
  await scene.opened;
  assert.equal(gate.isDown, false);
  assert.deepEqual(scene.changes, [true, false]);
  assert.deepEqual([scene.pings[0], scene.pings.at(-1)], [false, true]);
  assert.match(await deliver(wire), /^250/);
  assert.equal(stage.intake.taken.length, 2);
});

Deno.test("QueueGate that is disposed while the queue is down ends its probing, and closes no more", async () => {
  await using scene = await openScene();
  scene.relay.cut();
  scene.gate.close();
  await scene.probed();
  await scene.gate[Symbol.asyncDispose]();
  assert.equal(scene.gate.isDown, false);
  const asked = scene.pings.length;
  scene.gate.close();
  assert.equal(scene.gate.isDown, false);
  assert.equal(scene.pings.length, asked);
});
