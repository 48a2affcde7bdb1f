import { configOfProcess } from "../../lib/config/process_config.ts";
import { newId } from "../../lib/ids.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { parseArguments, usage } from "./arguments.ts";
import { replay } from "./replay.ts";

const { config, rest } = configOfProcess("spool", usage);
const shownTroubles = 100;

try {
  await run();
} catch (error) {
  say(faultText(error), Deno.stderr);
  Deno.exitCode = 1;
}

async function run(): Promise<void> {
  const command = parseArguments(rest);
  if (command.verb === "help") return say(usage);
  const { ownerUrl, url } = config.database;
  await using owner = await openSession({
    url: (ownerUrl.isEmpty ? url : ownerUrl).reveal(),
    statementTimeoutMs: 600_000,
    applicationName: "spool",
  });
  let told = 0;
  const { written, known, troubles } = await replay({
    owner,
    root: config.storage.path,
    run: `replay-${newId<never>() as string}`,
    isDryRun: command.isDryRun,
    // The first of them show what is wrong; the list must not run away.
    onTrouble: (sentence) => void (told++ < shownTroubles && say(sentence, Deno.stderr)),
  });
  if (config.storage.type === "s3") {
    say("bodies in S3 are not looked at, only those in storage.path", Deno.stderr);
  }
  say(`${written} ${command.isDryRun ? "would be " : ""}made dead letters; ${known} have their rows`);
  if (troubles === 0) return;
  say(`${troubles} could not be replayed`, Deno.stderr);
  Deno.exitCode = 1;
}

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
