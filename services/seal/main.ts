import { configOfProcess } from "../../lib/config/process_config.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { countSealed } from "../../lib/providers/sealed_secrets_table.ts";
import { parseKeys } from "../../lib/secrets/seal.ts";
import { reseal } from "./reseal.ts";
import { describeState } from "./state.ts";

const usage = `seal           tell with which keys the secrets in the database are sealed
seal --again   seal them with the first key of secrets.keys, while services run, and tell what is left
`;

const { config, rest } = configOfProcess("seal", usage);
try {
  await run();
} catch (error) {
  say(faultText(error), Deno.stderr);
  Deno.exitCode = 1;
}

async function run(): Promise<void> {
  if (rest.includes("--help") || rest.includes("-h")) return say(usage);
  const again = rest.length === 1 && rest[0] === "--again";
  if (rest.length > 0 && !again) {
    throw new Error(`Cannot seal: expected --again or nothing: current value is "${rest.join(" ")}"`);
  }
  const keys = await parseKeys(config.secrets.keys.reveal());
  const options = { url: config.database.url.reveal(), poolMax: 1, applicationName: "seal" };
  await using administrators = openDatabase({ ...options, role: "smtp_proxy_admin" });
  if (again) {
    if (keys === undefined) throw new Error("Cannot seal again: secrets.keys names no key");
    await using groups = openDatabase({ ...options, role: "smtp_proxy_group" });
    const { done, damaged } = await reseal({ administrators, groups, keys });
    say(`sealed again: ${done}`);
    // The first of them show what is wrong; the list must not run away.
    for (const id of damaged.slice(0, 20)) say(`provider ${id}: its key does not open it`);
    if (damaged.length > 0) say(`damaged: ${damaged.length}`);
  }
  const { lines, needsOthers } = describeState(await countSealed(administrators.system), keys ?? []);
  for (const line of lines) say(line);
  if (again && needsOthers) Deno.exitCode = 1;
}

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
