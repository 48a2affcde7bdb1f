import { type CompileCommand, parseArguments, usage } from "./arguments.ts";
import { leftOut } from "./left_out.ts";
import { type Build, compileArguments, outputOf, pathsOf, taskOf } from "./programs.ts";

const decoder = new TextDecoder();
const advice =
  `If the runtime (denort ${Deno.version.deno}) cannot be fetched here, name one that is at hand by DENORT_BIN.`;

try {
  await run(parseArguments(Deno.args));
} catch (error) {
  say(error instanceof Error ? error.message : String(error), Deno.stderr);
  Deno.exitCode = 1;
}

async function run(command: CompileCommand): Promise<void> {
  if (command.verb === "help") return say(usage);
  const { tasks } = JSON.parse(await Deno.readTextFile("deno.json")) as { tasks: Record<string, string> };
  const commit = await commitOfProject();
  await fetchPackages(command.programs.map((program) => `services/${program}/main.ts`));
  const folders = leftOut(await npmCache());
  const targets = command.targets.length === 0 ? [undefined] : command.targets;
  for (const target of targets) {
    for (const program of command.programs) {
      const build = {
        program,
        ...target === undefined ? {} : { target },
        ...pick(command),
        leftOut: folders,
      };
      await compile(build, tasks[taskOf(program)] ?? "", commit);
    }
  }
}

function pick(
  { read, write, net }: Omit<CompileCommand & { verb: "build" }, "verb">,
): Pick<Build, "read" | "write" | "net"> {
  return { read, write, net };
}

async function compile(build: Build, task: string, commit: string): Promise<void> {
  const variables = await Deno.makeTempFile({ prefix: "smtp_proxy_build_" });
  const output = outputOf(build);
  try {
    const paths = pathsOf(task, build).read.join();
    await Deno.writeTextFile(
      variables,
      `SMTP_PROXY_BUILD_COMMIT=${commit}\nSMTP_PROXY_BUILD_PATHS=${paths}\n`,
    );
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...compileArguments(build, task, variables)],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) {
      throw new Error(`Cannot compile ${output}:\n${decoder.decode(stderr).trimEnd()}\n${advice}`);
    }
  } finally {
    await Deno.remove(variables);
  }
  const { size } = await Deno.stat(output);
  say(`${output}  ${Math.round(size / 1024 / 1024)} MiB`);
}

/** The commit as git names it, with "-dirty" when files differ from it; empty outside a checkout or without git. */
async function commitOfProject(): Promise<string> {
  try {
    const args = ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"];
    const { success, stdout } = await new Deno.Command("git", { args, stdin: "null", stderr: "null" })
      .output();
    return success ? decoder.decode(stdout).trim() : "";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

/** On a machine that never ran the programs there is nothing yet to leave out. */
async function fetchPackages(entries: readonly string[]): Promise<void> {
  const args = ["cache", "--frozen", ...entries];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "null" })
    .output();
  if (!success) throw new Error(`Cannot fetch the packages:\n${decoder.decode(stderr).trimEnd()}`);
}

/** Where Deno keeps npm packages. */
async function npmCache(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"], stdin: "null" })
    .output();
  return (JSON.parse(decoder.decode(stdout)) as { readonly npmCache: string }).npmCache;
}

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
