import { configOfProcess } from "../../lib/config/process_config.ts";
import { parseYaml } from "../../lib/config/yaml_file.ts";
import { newId } from "../../lib/ids.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { Refusal } from "../../lib/refusal.ts";
import { parseKeys } from "../../lib/secrets/seal.ts";
import { applyGroup } from "./apply_group.ts";
import { type ApplyCommand, parseArguments, usage } from "./arguments.ts";
import { type GroupWish, readDocument } from "./document.ts";

const { config, rest } = configOfProcess("apply", usage);
const longestFile = 10 << 20;
const longestSecret = 1 << 20;

try {
  await run(parseArguments(rest));
} catch (error) {
  say(faultText(error), Deno.stderr);
  Deno.exitCode = 1;
}

async function run(command: ApplyCommand | undefined): Promise<void> {
  if (command === undefined) return say(usage);
  const { mistakes, groups } = await readFile(command.file);
  if (mistakes.length > 0) {
    for (const mistake of mistakes) say(`${command.file}: ${mistake}`, Deno.stderr);
    Deno.exitCode = 2;
    return;
  }
  const count = await apply(command, groups);
  if (count === 0) return say("nothing to change: everything is as the file says");
  say(command.isDryRun ? `would make ${count} changes; none was made` : `changes made: ${count}`);
}

async function readFile(
  path: string,
): Promise<{ readonly mistakes: readonly string[]; readonly groups: readonly GroupWish[] }> {
  const { content, problems } = parseYaml(await readBounded(path, longestFile));
  if (problems.length > 0) return { mistakes: problems, groups: [] };
  const read = readDocument(content, {
    variable: (name) => Deno.env.get(name),
    readFile: (file) => readBoundedSync(file, longestSecret),
  });
  return { mistakes: [], groups: [], ...read };
}

async function apply({ isDryRun, mayPrune }: ApplyCommand, groups: readonly GroupWish[]): Promise<number> {
  const options = { url: config.database.url.reveal(), poolMax: 1, applicationName: "apply" };
  await using database = openDatabase({ ...options, role: "smtp_proxy_admin" });
  await using logins = openDatabase({ ...options, role: "smtp_proxy_login" });
  const world = {
    database,
    logins,
    keys: await parseKeys(config.secrets.keys.reveal()),
    requireGroupDomains: config.requireGroupDomains,
    defaultMonthlyLimit: config.rateLimit.defaultMonthlyLimit,
    run: `apply-${newId<never>() as string}`,
    isDryRun,
    mayPrune,
  };
  let count = 0;
  for (const group of groups) {
    try {
      const lines = await applyGroup(world, group);
      for (const line of lines) say(line);
      count += lines.length;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      throw new Error(`group ${group.name}: ${error.message}; nothing of it was changed`, { cause: error });
    }
  }
  return count;
}

async function readBounded(path: string, longest: number): Promise<string> {
  refuseLarge(path, (await Deno.stat(path)).size, longest);
  return await Deno.readTextFile(path);
}

function readBoundedSync(path: string, longest: number): string {
  refuseLarge(path, Deno.statSync(path).size, longest);
  return Deno.readTextFileSync(path);
}

function refuseLarge(path: string, size: number, longest: number): void {
  if (size > longest) throw new Error(`Cannot read ${path}: it has ${size} bytes, ${longest} at most`);
}

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
