import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";

Deno.test("parseArguments() reads what is asked for", () => {
  assert.deepEqual(parseArguments(["replay"]), { verb: "replay", isDryRun: false });
  assert.deepEqual(parseArguments(["replay", "--dry-run"]), { verb: "replay", isDryRun: true });
  for (const words of [[], ["--help"], ["replay", "-h"]]) {
    assert.deepEqual(parseArguments(words), { verb: "help" });
  }
});

Deno.test("parseArguments() refuses what it does not understand", () => {
  for (const words of [["delete"], ["replay", "all"], ["--dry-run"]]) {
    assert.throws(() => parseArguments(words), /^Error: Cannot look after the spool: /);
  }
});
