import assert from "node:assert/strict";
import { caseNames, parseBenchOptions } from "./bench_options.ts";

Deno.test("parseBenchOptions() runs every case unless some are named, in one order", () => {
  assert.deepEqual(parseBenchOptions([]).cases, caseNames);
  assert.deepEqual(parseBenchOptions(["drain", "accept"]).cases, ["accept", "drain"]);
});

Deno.test("parseBenchOptions() names the case or the flag that is wrong", () => {
  assert.throws(() => parseBenchOptions(["acept"]), /Cannot run case acept/);
  assert.throws(
    () => parseBenchOptions(["--rounds", "0"]),
    /--rounds: 0 is not a whole number of at least 1/,
  );
  assert.throws(() => parseBenchOptions(["--loops", "3"]), /--loops/);
});
