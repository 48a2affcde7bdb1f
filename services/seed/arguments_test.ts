import assert from "node:assert/strict";
import { parseArguments } from "./arguments.ts";

const json = '{"name":"n","provider_type":"stdout"}';

Deno.test("parseArguments() reads what is to be seeded or checked", () => {
  assert.deepEqual(parseArguments([]), { kind: "seed" });
  assert.deepEqual(parseArguments(["-h"]), { kind: "help" });
  const seed = parseArguments([`--provider=${json}`]);
  assert.equal(seed.kind === "seed" && seed.provider?.name, "n");
  const check = parseArguments(["--check", json, "--from", "a@example.com", "--to", "b@example.org"]);
  assert.deepEqual(check.kind === "check" && check.mail, { from: "a@example.com", to: "b@example.org" });
});

Deno.test("parseArguments() refuses what it does not understand and shows no value", () => {
  const cases = [
    ["--pigeon"],
    ["--pigeon=secret"],
    ["secret"],
    ["--provider"],
    ["--check", json, "--to", "secret"],
    ["--check", json, "--provider", json],
    ["--from", "secret"],
    ["--provider", '{"name":"secret'],
  ];
  for (const words of cases) {
    assert.throws(() => parseArguments(words), (error: Error) => {
      assert.match(error.message, /^Cannot (seed|read the provider): /);
      assert.doesNotMatch(error.message, /secret/);
      return true;
    });
  }
});
