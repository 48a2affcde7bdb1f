import assert from "node:assert/strict";
import { createMetrics } from "./metrics.ts";
import type { OpsOptions, Readiness } from "./ops.ts";
import { metricsReaders, opsHandler } from "./ops.ts";

async function ask(
  path: string,
  options: Partial<OpsOptions> = {},
  method = "GET",
): Promise<Response | undefined> {
  const handle = opsHandler({
    metrics: createMetrics(),
    ready: () => Promise.resolve({ ready: true }),
    onFault: (error) => {
      throw error;
    },
    ...options,
  });
  return await handle(new Request(`http://localhost${path}`, { method }), { remoteAddress: "192.0.2.1" });
}

function notReady(...down: string[]): () => Promise<Readiness> {
  return () => Promise.resolve({ ready: false, down });
}

Deno.test("opsHandler() answers /healthz with ok whatever is down", async () => {
  const response = await ask("/healthz", { ready: () => Promise.reject(new Error("down")) });
  assert.equal(response?.status, 200);
  assert.deepEqual(await response.json(), { status: "ok" });
});

Deno.test("opsHandler() answers /readyz with 503, Retry-After and what is down", async () => {
  assert.equal((await ask("/readyz"))?.status, 200);
  const response = await ask("/readyz", { ready: notReady("database") });
  assert.equal(response?.status, 503);
  assert.equal(response.headers.get("retry-after"), "30");
  assert.deepEqual(await response.json(), { error: "database unavailable" });
  const both = await ask("/readyz", { ready: notReady("queue", "body store") });
  assert.deepEqual(await both?.json(), { error: "queue, body store unavailable" });
});

Deno.test("opsHandler() is not ready when asking for readiness fails, and tells the fault", async () => {
  const faults: unknown[] = [];
  const response = await ask("/readyz", {
    ready: () => Promise.reject(new Error("no pool")),
    onFault: (error) => faults.push(error),
  });
  assert.equal(response?.status, 503);
  assert.match(String(faults), /no pool/);
});

Deno.test("opsHandler() serves /metrics in the text format, to whom may read them", async () => {
  const metrics = createMetrics();
  metrics.smtp.messagesEnqueued.add();
  const response = await ask("/metrics", { metrics });
  assert.match(response?.headers.get("content-type") ?? "", /^text\/plain; version=0\.0\.4/);
  assert.match(await response?.text() ?? "", /^smtp_message_enqueued_total\{instance="0"\} 1$/m);
  const refused = await ask("/metrics", { metrics, mayReadMetrics: (address) => address === "127.0.0.1" });
  assert.equal(refused?.status, 403);
});

Deno.test("opsHandler() leaves other paths to others and takes only GET and HEAD", async () => {
  assert.equal(await ask("/"), undefined);
  assert.equal(await ask("/constructor"), undefined);
  assert.equal((await ask("/healthz", {}, "POST"))?.status, 405);
  assert.equal((await ask("/healthz?full=1", {}, "HEAD"))?.status, 200);
});

Deno.test("metricsReaders() lets loopback and the given networks read, of both families", () => {
  const mayRead = metricsReaders(["10.1.0.0/16", "fd00::/8"]);
  for (const address of ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "fd12::1"]) {
    assert.equal(mayRead(address), true, address);
  }
  for (const address of ["10.2.0.1", "192.0.2.1", "2001:db8::1", ""]) {
    assert.equal(mayRead(address), false, address);
  }
});
