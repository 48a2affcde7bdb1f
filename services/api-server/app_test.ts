import assert from "node:assert/strict";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { metricsReaders, opsHandler } from "../../lib/telemetry/ops.ts";
import { createApp } from "./app.ts";

function testApp() {
  const seen: unknown[] = [];
  const app = createApp({
    operations: opsHandler({
      metrics: createMetrics(),
      ready: () => Promise.resolve({ ready: false, down: ["database"] }),
      onFault: (error) => assert.fail(String(error)),
      mayReadMetrics: metricsReaders([]),
    }),
    onRequest: (method, route, status) => seen.push([method, route, status]),
  });
  return {
    ask: (path: string, remoteAddress = "127.0.0.1") =>
      app(new Request(`http://x${path}`), { remoteAddress }),
    seen,
  };
}

Deno.test("createApp() answers health and readiness, and metrics to loopback alone", async () => {
  const { ask, seen } = testApp();
  assert.equal((await ask("/healthz")).status, 200);
  assert.equal((await ask("/readyz")).status, 503);
  assert.equal((await ask("/metrics")).status, 200);
  assert.equal((await ask("/metrics", "192.0.2.1")).status, 403);
  assert.deepEqual(seen, [
    ["GET", "/healthz", 200],
    ["GET", "/readyz", 503],
    ["GET", "/metrics", 200],
    ["GET", "/metrics", 403],
  ]);
});

Deno.test("createApp() answers 404 in the documented shape and never names the path to metrics", async () => {
  const { ask, seen } = testApp();
  const response = await ask("/api/v1/secret");
  assert.equal(response.status, 404);
  const body = await response.json() as Record<string, string>;
  assert.deepEqual(Object.keys(body), ["error", "code", "correlation_id"]);
  assert.equal(body["code"], "not_found");
  assert.equal(response.headers.get("x-correlation-id"), body["correlation_id"]);
  assert.deepEqual(seen, [["GET", "none", 404]]);
});
