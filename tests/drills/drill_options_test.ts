import assert from "node:assert/strict";
import { usageOf } from "../support/command_line.ts";
import { backlogName, commandLine, parseDrillPlan } from "./drill_options.ts";

Deno.test("parseDrillPlan() runs every drill unless some are named", () => {
  const all = parseDrillPlan([]);
  assert.ok(all.names.includes("kill_everything") && all.names.includes(backlogName));
  assert.deepEqual([all.messages, all.lastMs, all.queue], [20_000, 31_000, undefined]);
  const one = parseDrillPlan(["kill_postgres", "--rate", "0", "--queue=redis"]);
  assert.deepEqual([one.names, one.rate, one.queue], [["kill_postgres"], 0, "redis"]);
});

Deno.test("parseDrillPlan() names the drill or the flag that is wrong", () => {
  assert.throws(() => parseDrillPlan(["kill_all"]), /Cannot run drill kill_all: there are nothing, /);
  assert.throws(() => parseDrillPlan(["--messages", "many"]), /--messages: many is not a whole number/);
  assert.throws(() => parseDrillPlan(["--sessions="]), /--sessions: {2}is not a whole number of at least 1/);
  assert.throws(() => parseDrillPlan(["--queue", "kafka"]), /--queue: kafka is neither/);
  assert.throws(() => parseDrillPlan(["--quiet"]), TypeError);
});

Deno.test("usageOf() names every drill and every flag with its value", () => {
  const usage = usageOf(commandLine);
  for (const name of commandLine.names) assert.ok(usage.includes(`\n  ${name}\n`), name);
  assert.match(usage, /^ {2}--messages {2,}messages that are sent \(20000\)$/m);
  assert.match(usage, /^ {2}--queue .* own$/m);
});
