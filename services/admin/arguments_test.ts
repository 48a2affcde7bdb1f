import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";

Deno.test("parseArguments() reads whose password is reset", () => {
  assert.deepEqual(parseArguments(["reset-password"]), { verb: "reset-password", email: undefined });
  const named = { verb: "reset-password", email: "a@b.example" };
  assert.deepEqual(parseArguments(["reset-password", "--email", "a@b.example"]), named);
  assert.deepEqual(parseArguments(["reset-password", "--email=a@b.example"]), named);
  assert.deepEqual(parseArguments([]), { verb: "help" });
});

Deno.test("parseArguments() refuses what it does not understand", () => {
  for (const args of [["delete"], ["reset-password", "x"], ["reset-password", "--email"]]) {
    assert.throws(() => parseArguments(args), /Cannot administer/);
  }
});
