import assert from "node:assert/strict";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { reportWatcher, requestWatcher } from "./watch_requests.ts";

Deno.test("requestWatcher() counts requests and refused credentials, and tells of all but operations paths", async () => {
  const metrics = createMetrics();
  const told: unknown[] = [];
  const watch = requestWatcher(metrics, { info: (text, fields) => told.push([text, fields]) });
  watch("GET", "/api/v1/users", 200, 0.0123, { correlationId: "c" });
  watch("GET", "/api/v1/users", 401, 0.001, { correlationId: "d" });
  watch("GET", "/healthz", 200, 0.001, {});
  const text = await metrics.text();
  assert.match(text, /^api_auth_failures_total\{instance="0"\} 1$/m);
  assert.match(text, /^api_requests_total\{[^}]*path="\/healthz"[^}]*\} 1$/m);
  const line = { correlationId: "c", method: "GET", path: "/api/v1/users", httpStatus: 200, durationMs: 12 };
  assert.deepEqual(told[0], ["request answered", line]);
  assert.equal(told.length, 2);
});

Deno.test("reportWatcher() counts reports by what became of them, and events", async () => {
  const metrics = createMetrics();
  const watch = reportWatcher(metrics);
  watch("ses", "stored", 3);
  watch("ses", "unsigned", 0);
  const text = await metrics.text();
  assert.match(text, /^api_webhook_reports_total\{kind="ses",result="stored",instance="0"\} 1$/m);
  assert.match(text, /^api_webhook_reports_total\{kind="ses",result="unsigned",instance="0"\} 1$/m);
  assert.match(text, /^api_webhook_events_total\{kind="ses",instance="0"\} 3$/m);
});
