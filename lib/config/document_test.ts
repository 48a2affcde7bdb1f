import assert from "node:assert/strict";
import { exampleConfig, settingsTable } from "./document.ts";
import { settingPaths, variableOf } from "./settings.ts";

Deno.test("exampleConfig() names every setting", () => {
  for (const path of settingPaths) {
    assert.match(exampleConfig(), new RegExp(`^ *(# )?${path.split(".").at(-1)}: `, "m"), path);
  }
});

Deno.test("settingsTable() has a row for every setting", () => {
  const rows = settingsTable().split("\n");
  for (const path of settingPaths) {
    assert.ok(rows.some((row) => row.startsWith(`| \`${path}\` | \`${variableOf(path)}\``)), path);
  }
});
