import assert from "node:assert/strict";
import { barsOf, tableOf, verdictOf } from "./bars.ts";

const rate = (target: string, load: string, perSecond: number) => ({
  case: "accept",
  target,
  load,
  values: { perSecond },
});

Deno.test("barsOf() compares what one run measured and calls the rest not measured", () => {
  const bars = barsOf([rate("bare", "k100", 3_000), rate("smtp-server", "k100", 1_800)]);
  const [first, second] = bars;
  assert.equal(first?.seen, 0.6);
  assert.deepEqual(bars.slice(0, 2).map(verdictOf), ["met", "not measured"]);
  assert.equal(second?.seen, undefined);
});

Deno.test("verdictOf() calls a value at the bar met and one beyond it missed", () => {
  assert.equal(verdictOf({ promise: "", seen: 0.5, least: 0.5 }), "met");
  assert.equal(verdictOf({ promise: "", seen: 25.1, most: 25 }), "missed");
  assert.equal(verdictOf({ promise: "", seen: 0.8, least: 0.9, most: 1.1 }), "missed");
});

Deno.test("tableOf() gives each bar a line with its verdict", () => {
  const bars = barsOf([rate("bare", "k100", 3_000), rate("smtp-server", "k100", 1_000)]);
  const lines = tableOf(bars).trimEnd().split("\n");
  assert.equal(lines.length, bars.length + 1);
  assert.match(lines[1] ?? "", /0\.33 .*missed$/);
});
