import assert from "node:assert/strict";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import type { Readiness } from "../../lib/telemetry/ops.ts";
import { serveOps } from "../../lib/telemetry/ops.ts";
import { freePort } from "../support/ports.ts";

function options(ready: () => Promise<Readiness> = () => Promise.resolve({ ready: true })) {
  const faults: unknown[] = [];
  const metrics = createMetrics({ instance: 1 });
  return { metrics, ready, onFault: (error: unknown) => void faults.push(error), host: "127.0.0.1", faults };
}

Deno.test("serveOps() serves health, readiness and metrics over HTTP, and 404 elsewhere", async () => {
  let down: readonly string[] = [];
  const own = options(() => Promise.resolve(down.length === 0 ? { ready: true } : { ready: false, down }));
  own.metrics.worker.processed.add({ status: "sent" }, 3);
  await using server = serveOps({ ...own, port: 0 });
  const url = `http://127.0.0.1:${server.port}`;
  assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { status: "ok" });
  assert.deepEqual(await (await fetch(`${url}/readyz`)).json(), { status: "ready" });
  down = ["database"];
  const unready = await fetch(`${url}/readyz`);
  assert.equal(unready.status, 503);
  assert.deepEqual(await unready.json(), { error: "database unavailable" });
  const metrics = await (await fetch(`${url}/metrics`)).text();
  assert.match(metrics, /^queue_messages_processed_total\{status="sent",instance="1"\} 3$/m);
  const nothing = await fetch(`${url}/api/v1/groups`);
  assert.equal(nothing.status, 404);
  await nothing.body?.cancel();
});

Deno.test("serveOps() says clearly that the port is taken", async () => {
  await using server = serveOps({ ...options(), port: 0 });
  assert.throws(() => serveOps({ ...options(), port: server.port }), {
    message: `Cannot listen on 127.0.0.1:${server.port} for operations: the port is taken`,
  });
});

Deno.test("serveOps() frees its port when it is disposed, also while a request hangs", async () => {
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<Readiness>();
  const own = options(() => {
    asked.resolve();
    return answer.promise;
  });
  // Not one that the system hands out: another process could have it at once.
  const server = serveOps({ ...own, port: freePort() });
  const hanging = fetch(`http://127.0.0.1:${server.port}/readyz`).then(
    (response) => response.body?.cancel(),
    () => {},
  );
  await asked.promise;
  await server[Symbol.asyncDispose]();
  answer.resolve({ ready: true });
  await hanging;
  await using again = serveOps({ ...options(), port: server.port });
  assert.equal(again.port, server.port);
});
