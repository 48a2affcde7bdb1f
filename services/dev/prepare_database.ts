import { openSession, quoteName } from "../../lib/postgres/database.ts";
import { runToEnd } from "./child.ts";
import type { DataFolder } from "./data_folder.ts";
import { ensureLogins } from "../../lib/postgres/service_logins.ts";
import { databaseName, databaseUrl, type Variables, withLogin } from "./environment.ts";
import type { PostgresServer } from "./postgres.ts";
import { taskArguments, withNamedPaths } from "./task_command.ts";

/** What `prepareDatabase` works with. */
export interface Preparation {
  readonly server: PostgresServer;
  readonly port: number;
  readonly data: DataFolder;
  readonly variables: Variables;
  /** The dev group's provider as JSON; empty leaves it as it is (ruling 1.2). */
  readonly provider: string;
}

/** Creates the database and the services' logins, migrates and seeds: by the same programs as anywhere else. */
export async function prepareDatabase(
  { server, port, data, variables, provider }: Preparation,
): Promise<void> {
  await createDatabase(server);
  const owner = databaseUrl("postgres", data.secrets.superuser, port, databaseName);
  await run("migrate", data, { ...variables, SMTP_PROXY_DATABASE_OWNER_URL: owner });
  await using session = await openSession({ url: owner });
  await ensureLogins(session, (login) => data.secrets.logins[login]);
  const arguments_ = provider === "" ? [] : ["--provider", provider];
  await run("seed", data, withLogin(variables, data, port, "api_server"), arguments_);
}

async function createDatabase(server: PostgresServer): Promise<void> {
  await using session = await openSession({ url: server.url });
  const [found] = await session.query("select from pg_database where datname = $1", [databaseName]);
  if (found === undefined) await session.run(`create database ${quoteName(databaseName)} template template0`);
}

async function run(
  task: "migrate" | "seed",
  data: DataFolder,
  variables: Variables,
  args: readonly string[] = [],
) {
  await runToEnd(task, [...withNamedPaths(taskArguments(task, data.path), variables), ...args], variables);
}
