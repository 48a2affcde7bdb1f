import { configOfProcess } from "../../lib/config/process_config.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { faultText } from "../../lib/postgres/faults.ts";
import { espIoOf } from "../../lib/providers/esp_io.ts";
import { parseArguments, usage } from "./arguments.ts";
import { checkProvider } from "./check_provider.ts";
import { allowItsCredentials, devGroup, ensureDevGroup, putOnlyProvider } from "./dev_group.ts";
import type { ProviderRequest } from "./provider_request.ts";

const { config, rest } = configOfProcess("seed", usage);
try {
  await run();
} catch (error) {
  say(faultText(error), Deno.stderr);
  Deno.exitCode = 1;
}

async function run(): Promise<void> {
  const request = parseArguments(rest);
  switch (request.kind) {
    case "help":
      return say(usage);
    case "seed":
      return await seed(request.provider);
    case "check": {
      const { provider, mail } = request;
      const io = espIoOf(config);
      const { works, lines } = await checkProvider(provider, io, mail && { ...mail, now: io.now() });
      for (const line of lines) say(line, works ? Deno.stdout : Deno.stderr);
      if (!works) Deno.exitCode = 1;
    }
  }
}

async function seed(provider: ProviderRequest | undefined): Promise<void> {
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

function say(text: string, to = Deno.stdout): void {
  to.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
}
