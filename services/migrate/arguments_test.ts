import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";

Deno.test("parseArguments() understands every command, and `up` when there is none", () => {
  assert.deepEqual(parseArguments([]), { verb: "up" });
  assert.deepEqual(parseArguments(["up", "--to", "3"]), { verb: "up", to: 3 });
  assert.deepEqual(parseArguments(["down", "--to=0"]), { verb: "down", to: 0 });
  assert.deepEqual(parseArguments(["down"]), { verb: "down" });
  assert.deepEqual(parseArguments(["up", "--logins"]), { verb: "up", logins: true });
  const olderThan = new Date("2026-01-31T22:00:00Z");
  assert.deepEqual(parseArguments(["hold", "--older-than", "2026-01-31T23:00:00+01:00"]), {
    verb: "hold",
    olderThan,
  });
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

Deno.test("parseArguments() refuses a time without zone, and no time", () => {
  for (const args of [[], ["--older-than", "2026-01-31T23:00:00"], ["--older-than=yesterday"]]) {
    assert.throws(() => parseArguments(["hold", ...args]), /^Error: Cannot hold: /, args.join(" "));
  }
});
