import assert from "node:assert/strict";
import { createMetrics } from "./metrics.ts";
import { LagWindow, watchProcess } from "./process_metrics.ts";

Deno.test("LagWindow.longest() is the longest delay of the last while", () => {
  const lag = new LagWindow(10_000);
  assert.equal(lag.longest(0), 0);
  lag.add(1000, 40);
  lag.add(2000, 300);
  lag.add(11_500, 5);
  assert.equal(lag.longest(11_500), 300);
  assert.equal(lag.longest(12_500), 5);
  assert.equal(lag.longest(60_000), 0);
});

Deno.test("watchProcess() reports version, memory and lag without any permission", async () => {
  const metrics = createMetrics();
  using _watch = watchProcess(metrics, { service: "smtp-server", version: "1.2.3" });
  const text = await metrics.text();
  assert.match(text, /^build_info\{service="smtp-server",version="1.2.3",instance="0"\} 1$/m);
  const rss = /^process_resident_memory_bytes\{instance="0"\} (\d+)$/m.exec(text)?.[1];
  assert.ok(Number(rss) > 10_000_000);
  assert.match(text, /^event_loop_lag_seconds\{instance="0"\} [\d.e-]+$/m);
  assert.match(text, /^process_start_time_seconds\{instance="0"\} [\d.e+]+$/m);
  assert.ok(Number(/^process_heap_bytes\{instance="0"\} (\d+)$/m.exec(text)?.[1]) > 100_000);
  // Without the permission to count them there is no number, rather than a wrong one.
  assert.doesNotMatch(text, /^process_open_fds\{/m);
});
