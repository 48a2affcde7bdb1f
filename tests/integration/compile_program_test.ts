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
