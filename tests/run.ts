/**
 * Runs the tests: starts the servers they need once, then the unit tests without any permission, then everything
 * below tests/. Files named on the command line run alone; arguments that begin with a dash go to `deno test`.
 */
import { ensureRedis } from "./support/redis_program.ts";
import { startTestServer } from "./support/test_server.ts";

const flags = Deno.args.filter((argument) => argument.startsWith("-"));
const named = Deno.args.filter((argument) => !argument.startsWith("-"));
const unit = named.length === 0 ? ["lib", "services"] : named.filter((path) => !isOfTheWorld(path));
const world = named.length === 0 ? ["tests"] : named.filter(isOfTheWorld);

Deno.exitCode = await run();

async function run(): Promise<number> {
  let code = unit.length === 0 ? 0 : await test(["--no-prompt", ...unit], {});
  if (world.length > 0) {
    await ensureRedis();
    await using server = await startTestServer();
    code = await test(["--allow-all", ...world], server.env) || code;
  }
  return code;
}

/** Ctrl-C and TERM reach the tests and end them; the servers are stopped afterwards in any case. */
async function test(parameters: readonly string[], env: Readonly<Record<string, string>>): Promise<number> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "test",
      "--no-check",
      "--permit-no-files",
      // What a test leaves behind fails it; neither is on by itself.
      "--sanitize-ops",
      "--sanitize-resources",
      ...flags,
      ...parameters,
    ],
    env,
    stdin: "null",
  }).spawn();
  const stop = () => child.kill("SIGTERM");
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
  const { code } = await child.status;
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, stop);
  return code;
}

function isOfTheWorld(path: string): boolean {
  return /(^|\/)tests(\/|$)/.test(path);
}
