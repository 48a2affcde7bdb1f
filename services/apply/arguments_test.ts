import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";

Deno.test("parseArguments() reads the file and what may be done with it", () => {
  const plain = { file: "mail.yaml", isDryRun: false, mayPrune: false };
  assert.deepEqual(parseArguments(["mail.yaml"]), plain);
  assert.deepEqual(parseArguments(["--dry-run", "mail.yaml"]), { ...plain, isDryRun: true });
  assert.deepEqual(parseArguments(["mail.yaml", "--prune"]), { ...plain, mayPrune: true });
  for (const words of [[], ["-h"], ["mail.yaml", "--help"]]) assert.equal(parseArguments(words), undefined);
});

Deno.test("parseArguments() refuses what it does not understand", () => {
  for (const words of [["--prune"], ["a.yaml", "b.yaml"], ["a.yaml", "--force"]]) {
    assert.throws(() => parseArguments(words), /^Error: Cannot apply: /, words.join(" "));
  }
});
