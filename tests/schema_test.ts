import assert from "node:assert/strict";
import { migrations } from "../migrations/mod.ts";
import { supportedSchema } from "../lib/postgres/await_schema.ts";

Deno.test("services support the newest migration, and every file of migrations/ is listed", async () => {
  assert.equal(supportedSchema.newest, migrations.at(-1)?.version);
  assert.ok(supportedSchema.oldest <= supportedSchema.newest);
  const files: string[] = [];
  for await (const entry of Deno.readDir("migrations")) {
    if (entry.name.endsWith(".sql")) files.push(entry.name);
  }
  const listed = migrations.flatMap(({ version, name }) =>
    ["up", "down"].map((way) => `${String(version).padStart(3, "0")}_${name}.${way}.sql`)
  );
  assert.deepEqual(files.sort(), listed.sort());
  for (const { up, version } of migrations) {
    assert.match(up, /^-- (expand|contract)$/m, `migration ${version} says whether it expands or contracts`);
  }
});
