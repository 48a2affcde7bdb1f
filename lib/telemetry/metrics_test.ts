import assert from "node:assert/strict";
import { createMetrics, largest } from "./metrics.ts";
import { declaredMetrics, metricsTable } from "./metrics_declared.ts";

Deno.test("createMetrics() reports only the parts that were named", async () => {
  const metrics = createMetrics({ instance: 3 });
  metrics.smtp.connections.add({ status: "accepted" });
  const text = await metrics.text();
  assert.match(text, /^smtp_connections_total\{status="accepted",instance="3"\} 1$/m);
  assert.match(text, /^smtp_connections_total\{status="rejected",instance="3"\} 0$/m);
  assert.doesNotMatch(text, /^(queue|api|db)_/m);
});

Deno.test("createMetrics() makes registries that know nothing of each other", async () => {
  const first = createMetrics();
  const second = createMetrics();
  first.worker.processed.add({ status: "sent" }, 5);
  second.worker.processed.add({ status: "sent" });
  assert.match(await first.text(), /queue_messages_processed_total\{status="sent",instance="0"\} 5/);
  assert.match(await second.text(), /queue_messages_processed_total\{status="sent",instance="0"\} 1/);
});

Deno.test("createMetrics() never makes more series than the label's limit", async () => {
  const metrics = createMetrics();
  for (let path = 0; path < 1000; path++) {
    metrics.api.requests.add({ method: "GET", path: `/${path}`, status: "200" });
  }
  const series = (await metrics.text()).match(/^api_requests_total\{/gm) ?? [];
  assert.equal(series.length, 201);
});

Deno.test("Metrics.onScrape() runs before each answer, and one that fails does not spoil it", async () => {
  const errors: unknown[] = [];
  const metrics = createMetrics({ onCollectError: (error) => errors.push(error) });
  metrics.onScrape(() => {
    metrics.database.idle.set(4);
  });
  metrics.onScrape(() => Promise.reject(new Error("database gone")));
  assert.match(await metrics.text(), /^db_connections_idle\{instance="0"\} 4$/m);
  assert.equal(errors.length, 1);
});

Deno.test("Metrics.setPending() names a hundred groups and sums the others, and forgets the last answer", async () => {
  const metrics = createMetrics();
  metrics.setPending(new Map(Array.from({ length: 101 }, (_, group) => [`gone${group}`, 7])));
  metrics.setPending(new Map(Array.from({ length: 130 }, (_, group) => [`g${group}`, group + 1])));
  const text = await metrics.text();
  assert.equal((text.match(/^queue_messages_pending\{/gm) ?? []).length, 101);
  assert.match(text, /queue_messages_pending\{group="other",instance="0"\} 465$/m);
  assert.doesNotMatch(text, /gone/);
});

Deno.test("largest() has no `other` when all fit", () => {
  assert.deepEqual(largest(new Map([["a", 1], ["b", 2]]), 2), [["b", 2], ["a", 1]]);
});

Deno.test("Metrics observe durations and add to gauges", async () => {
  const metrics = createMetrics();
  metrics.smtp.enqueueDuration.observe(0.02);
  metrics.smtp.activeSessions.add(1);
  metrics.smtp.activeSessions.add(-1);
  metrics.process.batchSize.observe({ step: "bodies" }, 12);
  const text = await metrics.text();
  assert.match(text, /smtp_message_enqueue_duration_seconds_count\{instance="0"\} 1/);
  assert.match(text, /^smtp_active_sessions\{instance="0"\} 0$/m);
  assert.match(text, /batch_size_sum\{instance="0",step="bodies"\} 12/);
});

Deno.test("declaredMetrics names every documented metric once, and metricsTable() shows it", () => {
  const names = Object.values(declaredMetrics).flatMap((part) => Object.values(part).map(({ name }) => name));
  assert.equal(new Set(names).size, names.length);
  const documented = `smtp_connections_total smtp_active_sessions smtp_auth_attempts_total
    smtp_message_enqueued_total smtp_message_enqueue_duration_seconds api_requests_total
    api_request_duration_seconds api_auth_failures_total db_connections_active db_connections_idle
    db_query_duration_seconds db_errors_total queue_depth queue_messages_pending queue_messages_enqueued_total
    queue_messages_processed_total queue_message_processing_duration_seconds queue_dlq_messages_total`;
  for (const name of documented.split(/\s+/)) {
    assert.ok(names.includes(name), name);
    assert.ok(metricsTable().includes(`| \`${name}\` |`), name);
  }
});
