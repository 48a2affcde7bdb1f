import { configOfProcess } from "../../lib/config/process_config.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { allowItsCredentials, devGroup, ensureDevGroup, putOnlyProvider } from "./dev_group.ts";
import { parseProvider, type ProviderRequest } from "./provider_request.ts";

const usage = `seed                   create the dev group and its SMTP account where they are missing
seed --provider JSON   and make the dev group deliver by this provider, described as for POST /providers
`;

const { config, rest } = configOfProcess("seed");
try {
  await run();
} catch (error) {
  say(faultText(error), Deno.stderr);
  Deno.exitCode = 1;
}

async function run(): Promise<void> {
  if (rest.includes("--help") || rest.includes("-h")) return say(usage);
  const provider = readProvider();
  const options = { url: config.database.url.reveal(), poolMax: 1, applicationName: "seed" };
  await using admin = openDatabase({ ...options, role: "smtp_proxy_admin" });
  const group = await ensureDevGroup(admin);
  say(
    `group ${devGroup.name}: SMTP account ${devGroup.username}, sender domains ${
      devGroup.allowedDomains.join(", ")
    }`,
  );
  if (provider === undefined) return;
  await using members = openDatabase({ ...options, role: "smtp_proxy_group" });
  const id = await putOnlyProvider(members, group, provider, config.secrets.keys.reveal());
  await allowItsCredentials(admin, id, provider);
  say(`group ${devGroup.name}: delivers by ${provider.name} (${provider.providerType})`);
}

function readProvider(): ProviderRequest | undefined {
  if (rest.length === 0) return undefined;
  const [flag = "", json] = rest[0]?.startsWith("--provider=") ? ["--provider", rest[0].slice(11)] : rest;
  if (flag === "--provider" && json !== undefined) return parseProvider(json);
  throw new Error(`Cannot seed: expected --provider JSON: current value is "${flag}"`);
}

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
