import assert from "node:assert/strict";
import { generated } from "./support/documentation.ts";

for (const [path, write] of Object.entries(generated)) {
  Deno.test(`${path} tells what the code says`, async () => {
    const text = await Deno.readTextFile(path);
    assert.equal(write(text), text, "run `deno task docs`");
  });
}

Deno.test("every file names the version of Deno that .deno-version names", async () => {
  const version = (await Deno.readTextFile(".deno-version")).trim();
  assert.match(version, /^\d+\.\d+\.\d+$/);
  const readme = await Deno.readTextFile("README.md");
  const named = [...readme.matchAll(/deno@([\d.]+)/g)].map((match) => match[1]);
  assert.ok(named.length >= 3);
  for (const other of named) assert.equal(other, version);
});

Deno.test("the README links to files that exist", async () => {
  for (const page of ["README.md", "lib/README.md"]) {
    const folder = page.includes("/") ? `${page.slice(0, page.lastIndexOf("/"))}/` : "";
    const text = await Deno.readTextFile(page);
    for (const [, target = ""] of text.matchAll(/\]\(([^)#]+)\)/g)) {
      if (!target.includes("://")) await Deno.stat(folder + target);
    }
  }
});

Deno.test("the README names tasks that exist", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile("deno.json"));
  const readme = await Deno.readTextFile("README.md");
  const named = new Set([...readme.matchAll(/task ([a-z][a-z-]*)/g)].map((match) => match[1] ?? ""));
  assert.ok(named.size >= 5);
  for (const name of named) assert.ok(name in tasks, `there is no task ${name}`);
});
