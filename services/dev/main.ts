import { ConfigError } from "../../lib/config/load.ts";
import { loadProcessConfig } from "../../lib/config/process_config.ts";
import type { Config } from "../../lib/config/settings.ts";
import { banner } from "./banner.ts";
import { openDataFolder } from "./data_folder.ts";
import { defaultDataFolder, postgresPort, serviceVariables, type Variables } from "./environment.ts";
import { plannedPorts, refuseTakenPorts } from "./ports.ts";
import { type PostgresOptions, startPostgres, stopLeftoverPostgres } from "./postgres.ts";
import { prepareDatabase } from "./prepare_database.ts";
import { type RunningServices, startServices } from "./services.ts";
import { type Stopping, watchForStop } from "./stopping.ts";

const started = performance.now();
const databaseName = "PostgreSQL";
const given = Object.fromEntries(
  Object.entries(Deno.env.toObject()).filter(([name]) => name.startsWith("SMTP_PROXY_")),
);
using stopping = await watchForStop();
try {
  Deno.exitCode = await run(stopping);
} catch (error) {
  say(error instanceof Error ? error.message : String(error));
  Deno.exitCode = error instanceof ConfigError ? 2 : 1;
}

/** Opens everything in order and closes it in reverse; answers the exit code. */
async function run({ signal, begun }: Stopping): Promise<number> {
  const port = postgresPort(given);
  await using data = await openDataFolder(given["SMTP_PROXY_DEV_DATA"] || defaultDataFolder);
  const variables = serviceVariables(given, data);
  const config = readConfig(variables);

  await stopLeftoverPostgres(data.cluster);
  await refuseTakenPorts(plannedPorts(config, port), data.wasKilled ? 10_000 : 0);
  const options = { dir: data.cluster, port, password: data.secrets.superuser };
  await using server = await startPostgres(options);
  const provider = given["SMTP_PROXY_DEV_PROVIDER"] ?? "";
  await prepareDatabase({ server, port, data, variables, provider });
  if (signal.aborted) return 0;

  await using services = startServices(config, data, variables, port);
  if (await services.ready(signal)) {
    say(banner(config, `127.0.0.1:${port}`, data.path, (performance.now() - started) / 1000));
  }
  const end = await Promise.race([
    begun.then(() => undefined),
    services.firstEnd,
    server.ended.then(() => ({ name: databaseName, code: undefined })),
  ]);
  if (end === undefined) return 0;
  say(
    `${end.name} ended by itself${
      end.code === undefined ? "" : ` with status ${end.code}`
    }: stopping everything`,
  );
  if (end.name === databaseName) await stopWithDatabase(services, options);
  return 1;
}

/** Services that stop write down how the calls ended that they had made: without a database they would be made again. */
async function stopWithDatabase(services: RunningServices, options: PostgresOptions): Promise<void> {
  await using _server = await startPostgres(options);
  await services[Symbol.asyncDispose]();
}

function readConfig(variables: Variables): Config {
  const { config } = loadProcessConfig("dev", (name) => variables[name]);
  for (
    const [name, { opsPort }] of Object.entries({ SMTP: config.smtp, WORKER: config.worker, API: config.api })
  ) {
    if (opsPort === 0) {
      throw new Error(`Cannot start: SMTP_PROXY_${name}_OPS_PORT is 0, and \`dev\` asks on that port`);
    }
  }
  return config;
}

function say(text: string): void {
  try {
    Deno.stdout.writeSync(new TextEncoder().encode(`${text.trimEnd()}\n`));
  } catch {
    // The terminal or pipe that we print to is gone, most likely the reason why we stop: nobody is left to tell.
  }
}
