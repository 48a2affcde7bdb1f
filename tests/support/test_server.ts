import { join } from "node:path";
import { openSession } from "../../lib/postgres/database.ts";
import { migrateUp } from "../../lib/postgres/migrate.ts";
import { migrations } from "../../migrations/mod.ts";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { ensureLogins } from "../../lib/postgres/service_logins.ts";
import { startPostgres } from "../../services/dev/postgres.ts";
import { freePort } from "./ports.ts";
import { serverVariable, templateDatabase } from "./postgres.ts";

/** A PostgreSQL server for one run of the tests, gone without a trace when disposed. */
export interface TestServer extends AsyncDisposable {
  /** What the processes that run tests need in their environment. */
  readonly env: Readonly<Record<string, string>>;
}

/** Starts a server that forgets with the power, with a migrated template database and the services' logins. */
export async function startTestServer(): Promise<TestServer> {
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_test_" });
  await Deno.chmod(folder, 0o711); // the server may run as another user
  const dir = join(folder, "postgres");
  const password = crypto.getRandomValues(new Uint8Array(16)).toHex();
  const server = await startPostgres({ dir, port: freePort(), password, durable: false });
  async function dispose(): Promise<void> {
    await server.stop();
    await removeCluster(dir);
    await Deno.remove(folder, { recursive: true });
  }
  try {
    await prepare(server.url, password);
  } catch (error) {
    await dispose();
    throw error;
  }
  return { env: { [serverVariable]: server.url }, [Symbol.asyncDispose]: dispose };
}

async function prepare(url: string, password: string): Promise<void> {
  await using session = await openSession({ url });
  await session.run(`create database ${templateDatabase} template template0`);
  const template = new URL(url);
  template.pathname = `/${templateDatabase}`;
  await prepareServer(template.href, password);
  await session.run(`alter database ${templateDatabase} is_template true allow_connections false`);
}

/** Migrates a database and creates the services' logins, all with the same password. */
export async function prepareServer(url: string, password: string): Promise<void> {
  await migrateUp({ url, migrations });
  await using session = await openSession({ url });
  await ensureLogins(session, () => password);
}

/** The same server, database and password with another login. */
export function loginUrl(url: string, login: string): string {
  const other = new URL(url);
  other.username = login;
  return other.href;
}
