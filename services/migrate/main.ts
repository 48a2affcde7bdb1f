import { configOfProcess } from "../../lib/config/process_config.ts";
import { holdRestored } from "../../lib/messages/hold_restored.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { migrateDown, type MigrateOptions, migrateUp, migrationStatus } from "../../lib/postgres/migrate.ts";
import { ensureLogins } from "../../lib/postgres/service_logins.ts";
import { migrations } from "../../migrations/mod.ts";
import { type MigrateCommand, parseArguments, usage } from "./arguments.ts";
import { passwordsOf } from "./login_passwords.ts";

const { config, rest } = configOfProcess("migrate", usage);
const { ownerUrl, url } = config.database;
const options: MigrateOptions = { url: (ownerUrl.isEmpty ? url : ownerUrl).reveal(), migrations, say };

try {
  await run(parseArguments(rest));
} catch (error) {
  say(`${faultText(error)}${reasonOf(error)}`, Deno.stderr);
  Deno.exitCode = 1;
}

async function run(command: MigrateCommand): Promise<void> {
  if (command.verb === "help") return say(usage);
  if (command.verb === "status") return await tellStatus();
  if (command.verb === "up") {
    const count = await migrateUp(options, command.to);
    say(count === 0 ? "nothing to apply" : `${count} applied`);
    return command.logins ? await makeLogins() : undefined;
  }
  if (command.verb === "hold") {
    await using owner = await openSession({ url: options.url, statementTimeoutMs: 3_600_000 });
    return say(`${await holdRestored(owner, command.olderThan)} made dead letters`);
  }
  const count = await migrateDown(options, command.to ?? await versionBelowNewest());
  say(count === 0 ? "nothing to take back" : `${count} taken back`);
}

async function makeLogins(): Promise<void> {
  const passwords = passwordsOf((name) => Deno.env.get(name), Deno.readTextFileSync);
  await using owner = await openSession({ url: options.url });
  await ensureLogins(owner, (login) => passwords[login]);
  say(`logins: ${Object.keys(passwords).join(", ")}`);
}

async function tellStatus(): Promise<void> {
  for (const { version, name, appliedAt, changed } of await migrationStatus(options)) {
    const state = changed ? "applied with another text" : appliedAt?.toISOString() ?? "not applied";
    say(`${String(version).padStart(3, "0")}_${name}  ${state}`);
  }
}

async function versionBelowNewest(): Promise<number> {
  const applied = (await migrationStatus(options)).filter(({ appliedAt }) => appliedAt !== undefined);
  return applied.at(-2)?.version ?? 0;
}

function reasonOf(error: unknown): string {
  return error instanceof Error && error.cause instanceof Error ? `: ${faultText(error.cause)}` : "";
}

function say(line: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${line.trimEnd()}\n`));
}
