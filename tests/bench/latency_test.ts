import assert from "node:assert/strict";
import { Latencies } from "./latency.ts";

Deno.test("Latencies gives quantiles to within one per cent", () => {
  const latencies = new Latencies();
  for (let ms = 1; ms <= 1_000; ms++) latencies.add(ms);
  const { count, p50, p95, p99, max } = latencies.summary();
  assert.equal(count, 1_000);
  assert.equal(max, 1_000);
  for (const [seen, exact] of [[p50, 500], [p95, 950], [p99, 990]] as const) {
    assert.ok(Math.abs(seen - exact) <= exact * 0.011, `${seen} is not within 1 % of ${exact}`);
  }
});

Deno.test("Latencies merges what several processes counted", () => {
  const one = new Latencies();
  const other = new Latencies();
  for (let i = 0; i < 99; i++) one.add(2);
  other.add(80);
  one.merge(other.counts(), other.summary().max);
  assert.deepEqual([one.summary().count, one.summary().max], [100, 80]);
  assert.ok(one.summary().p99 < 2.1);
});

Deno.test("Latencies answers zero when nothing was measured", () => {
  assert.deepEqual(new Latencies().summary(), { count: 0, p50: 0, p95: 0, p99: 0, max: 0 });
});
