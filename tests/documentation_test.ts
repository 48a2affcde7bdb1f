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

/** What somebody who installs, watches, upgrades or extends looks for. */
const headings = [
  "Run it",
  "How a message travels",
  "What it promises, exactly",
  "Who is kept from what",
  "Providers",
  "The API by example",
  "Routing rules",
  "What services report",
  "Settings",
  "In containers",
  "On a bare host",
  "Observe",
  "Scale",
  "Upgrade",
  "Rotate keys",
  "When something is wrong",
  "Back up and restore",
  "Metrics",
  "Decisions",
  "Speed",
];

Deno.test("the README has every section that is looked for, and its links to sections lead somewhere", async () => {
  const readme = await Deno.readTextFile("README.md");
  const found = [...readme.matchAll(/^##+ (.*)$/gm)].map(([, heading = ""]) => heading);
  assert.deepEqual(headings.filter((heading) => !found.includes(heading)), []);
  const anchors = new Set(
    found.map((heading) => heading.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-")),
  );
  for (const [, anchor = ""] of readme.matchAll(/\]\(#([^)]+)\)/g)) assert.ok(anchors.has(anchor), anchor);
});

Deno.test("the README names alerts that exist", async () => {
  const readme = await Deno.readTextFile("README.md");
  const rules = await Deno.readTextFile("services/operations/alerts.yaml");
  const named = [...readme.matchAll(/`(SmtpProxy\w+)`/g)].map(([, name = ""]) => name);
  assert.ok(named.length >= 5);
  for (const name of named) assert.ok(rules.includes(`alert: ${name}\n`), name);
});
