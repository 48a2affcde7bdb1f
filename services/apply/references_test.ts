import assert from "node:assert/strict";
import { findSecret, type SecretSources } from "./references.ts";

const sources: SecretSources = {
  variable: (name) => ({ KEY: "from the environment", EMPTY: "" })[name],
  readFile: (path) => {
    if (path !== "/run/secrets/key") throw new Error("No such file");
    return "from the file\n";
  },
};

Deno.test("findSecret() finds what a variable or a file holds", () => {
  assert.deepEqual(findSecret("env:KEY", sources), { secret: "from the environment" });
  assert.deepEqual(findSecret("file:/run/secrets/key", sources), { secret: "from the file" });
});

Deno.test("findSecret() says why there is none, and shows none", () => {
  const cases = [
    ["hunter2", /^a secret is named as env:NAME or file:PATH$/],
    ["env:", /^a secret is named/],
    ["env:NONE", /^the variable NONE is not set$/],
    ["env:EMPTY", /^the variable EMPTY is not set$/],
    ["file:/none", /^the file \/none cannot be read: No such file$/],
  ] as const;
  for (const [text, expected] of cases) {
    const found = findSecret(text, sources);
    assert.ok("mistake" in found, text);
    assert.match(found.mistake, expected);
    assert.doesNotMatch(found.mistake, /hunter2/);
  }
});
