import assert from "node:assert/strict";
import project from "../../deno.json" with { type: "json" };
import { compileArguments, programs, taskOf } from "../../services/compile/programs.ts";
import { basicVariables } from "../support/run_program.ts";

Deno.test("compile says that the runtime cannot be had and how to name one, and fails", async () => {
  const [, ...words] = project.tasks.compile.split(" ");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...words, "seal"],
    env: { ...basicVariables(), DENORT_BIN: "/nowhere/denort" },
    clearEnv: true,
    stdin: "null",
  }).output();
  const said = new TextDecoder().decode(stderr);
  assert.equal(code, 1, said);
  assert.match(said, /^Cannot compile dist\/seal:/);
  assert.match(said, /\/nowhere\/denort/);
  assert.match(said, /name one that is at hand by DENORT_BIN/);
  assert.equal(new TextDecoder().decode(stdout), "");
});

Deno.test("compileArguments() promises a build of every program from its task in deno.json", () => {
  const tasks: Readonly<Record<string, string>> = project.tasks;
  for (const program of programs) {
    const words = compileArguments(
      { program, read: [], write: [] },
      tasks[taskOf(program)] ?? "",
      "/tmp/variables",
    );
    assert.equal(words.at(-1), `services/${program}/main.ts`);
    assert.ok(
      words.includes("--no-prompt") && !words.includes("-A") && !words.includes("--allow-all"),
      program,
    );
    assert.ok(!words.some((word) => /^--allow-(read|write)=.*\.data/.test(word)), program);
  }
});

Deno.test("tasks let a service read the modules of the threads that it starts, and builds carry them", async () => {
  for (const service of ["smtp-server", "api-server"] as const) {
    const threads = (await modulesOf(`services/${service}/main.ts`)).filter(isThread);
    assert.ok(threads.includes("lib/users/bcrypt.ts"), threads.join());
    const words = compileArguments(
      { program: service, read: [], write: [] },
      project.tasks[service],
      "/tmp/variables",
    );
    const readable = words.find((word) => word.startsWith("--allow-read="))?.split(/[=,]/) ?? [];
    for (const thread of threads) {
      for (const module of await modulesOf(thread)) {
        assert.ok(readable.includes(module), `${service} may not read ${module}`);
        assert.ok(words.includes(module), `${service} is built without ${module}`);
      }
    }
  }
});

function isThread(module: string): boolean {
  return /^serveThread</m.test(Deno.readTextFileSync(module));
}

/** The project's own modules that one consists of, itself among them. */
async function modulesOf(entry: string): Promise<readonly string[]> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json", entry] }).output();
  const root = `file://${Deno.cwd()}/`;
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as {
    readonly modules: readonly { readonly specifier: string }[];
  };
  return modules.map(({ specifier }) => specifier).filter((specifier) => specifier.startsWith(root))
    .map((specifier) => specifier.slice(root.length));
}
