import assert from "node:assert/strict";
import { z } from "zod";
import { espKinds } from "./catalog.ts";
import { accountSettingsTable, kindSettingsTable, rowsOf } from "./document.ts";

Deno.test("rowsOf() tells defaults, what is required, what is sealed and what may be chosen", () => {
  const schema = z.strictObject({
    "key": z.string().describe("The key"),
    "place": z.enum(["a", "b"]).default("a").describe("Where it is"),
    "size": z.int().optional().describe("How large"),
  });
  assert.deepEqual(rowsOf(schema, ["key"]), [
    { name: "key", when: "required, sealed", meaning: "The key" },
    { name: "place", when: "`a`", meaning: "Where it is (`a`, `b`)" },
    { name: "size", when: "optional", meaning: "How large" },
  ]);
  assert.throws(() => rowsOf(z.strictObject({ mute: z.string() }), []), /mute does not describe itself/);
});

Deno.test("kindSettingsTable() has a row for every setting of every kind, but for those all kinds have", () => {
  assert.match(accountSettingsTable(), /^\| `strip_dkim` \| optional \| /m);
  for (const kind of espKinds) assert.doesNotMatch(kindSettingsTable(kind), /strip_dkim|webhook/, kind.name);
});

Deno.test("every kind takes an endpoint and seals what it calls a key, a secret or a password", () => {
  for (const kind of espKinds) {
    const names = rowsOf(kind.settings, kind.secretKeys).map(({ name }) => name);
    assert.ok(names.includes("endpoint"), kind.name);
    for (const name of names.filter((one) => /(^|_)(key|secret|password|token)$|^webhook$/.test(one))) {
      assert.ok(kind.secretKeys.includes(name), `${kind.name}.${name}`);
    }
    for (const key of kind.secretKeys) assert.ok(names.includes(key), `${kind.name}.${key}`);
  }
});
