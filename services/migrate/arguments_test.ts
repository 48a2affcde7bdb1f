import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";

Deno.test("parseArguments() understands every command, and `up` when there is none", () => {
  assert.deepEqual(parseArguments([]), { verb: "up" });
  assert.deepEqual(parseArguments(["up", "--to", "3"]), { verb: "up", to: 3 });
  assert.deepEqual(parseArguments(["down", "--to=0"]), { verb: "down", to: 0 });
  assert.deepEqual(parseArguments(["down"]), { verb: "down" });
  assert.deepEqual(parseArguments(["status"]), { verb: "status" });
  assert.deepEqual(parseArguments(["down", "--help"]), { verb: "help" });
});

Deno.test("parseArguments() refuses what it does not understand", () => {
  for (
    const args of [["sideways"], ["up", "3"], ["up", "--to"], ["down", "--to", "-1"], ["status", "--to", "1"]]
  ) {
    assert.throws(() => parseArguments(args), /^Error: Cannot migrate: /, args.join(" "));
  }
});
