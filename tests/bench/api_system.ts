import { join } from "node:path";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { migrateUp } from "../../lib/postgres/migrate.ts";
import { ensureLogins } from "../../lib/postgres/service_logins.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { migrations } from "../../migrations/mod.ts";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { startPostgres } from "../../services/dev/postgres.ts";
import { freePort } from "../support/ports.ts";
import { type FilledDatabase, fillMail } from "./api_rows.ts";
import { type Child, startChild } from "./child.ts";
import type { FilterTarget } from "./list_filters.ts";
import { startProgram, untilReady } from "./program.ts";

/** An api-server over a full database, hono alone beside it, and a database with little in it for comparison. */
export interface ApiSystem extends AsyncDisposable {
  readonly apiPort: number;
  readonly apiPid: number;
  readonly postgresPid: number;
  readonly bare: Child;
  readonly filled: FilledDatabase;
  /** For the API, of an administrator of both groups. */
  readonly token: (group: string) => Promise<string>;
  readonly little: FilterTarget;
  readonly full: FilterTarget;
}

/** Rows of the database that the full one is compared with. */
export const littleRows = 10_000;
const databaseName = "bench_little";
const personPassword = "correct horse";

/** Starts PostgreSQL with everything synced, fills two databases and starts both servers over the full one. */
export async function openApiSystem(parent: string, rows: number): Promise<ApiSystem> {
  await using opening = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ dir: parent, prefix: "api-" });
  opening.defer(() => Deno.remove(folder, { recursive: true }));
  await Deno.chmod(folder, 0o711); // PostgreSQL may run as another user
  const cluster = join(folder, "postgres");
  opening.defer(() => removeCluster(cluster));
  const password = crypto.getRandomValues(new Uint8Array(16)).toHex();
  const { url, pid: postgresPid } = opening.use(
    await startPostgres({ dir: cluster, port: freePort(), password, durable: true }),
  );
  {
    await using session = await openSession({ url });
    await session.run(`create database ${databaseName}`);
  }
  const hash = await hashPassword(personPassword);
  const little = await openFilled(urlWith(url, { path: databaseName }), password, littleRows, hash, opening);
  const full = await openFilled(url, password, rows, hash, opening);
  await full.target.session.run(`create role bench_bare superuser login password '${password}';
    alter role bench_bare set app.current_group_id = '${full.filled.large}'; checkpoint`);
  const bareUrl = urlWith(url, { user: "bench_bare" });
  const bare = opening.use(await startChild("./bare_api.ts", [bareUrl, full.filled.large]));
  const apiPort = freePort();
  const opsPort = freePort();
  const program = opening.use(startProgram("api-server", folder, {
    SMTP_PROXY_ENVIRONMENT: "development",
    SMTP_PROXY_STOP_WITH_PARENT: "true",
    SMTP_PROXY_DATABASE_URL: urlWith(url, { user: "api_server" }),
    SMTP_PROXY_API_HOST: "127.0.0.1",
    SMTP_PROXY_API_PORT: String(apiPort),
    SMTP_PROXY_API_OPS_PORT: String(opsPort),
    SMTP_PROXY_STORAGE_PATH: join(folder, "messages"),
    SMTP_PROXY_SECRETS_KEYS: `bench:${crypto.getRandomValues(new Uint8Array(32)).toBase64()}`,
  }));
  await untilReady(program, opsPort);
  const parts = opening.move();
  return {
    apiPort,
    apiPid: program.pid,
    postgresPid,
    bare,
    filled: full.filled,
    token: (group) => logIn(apiPort, full.filled.email, group),
    little: little.target,
    full: full.target,
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

async function openFilled(
  url: string,
  password: string,
  rows: number,
  passwordHash: string,
  opened: AsyncDisposableStack,
): Promise<{ readonly target: FilterTarget; readonly filled: FilledDatabase }> {
  await migrateUp({ url, migrations });
  const session = opened.use(await openSession({ url, statementTimeoutMs: 1_800_000 }));
  await ensureLogins(session, () => password);
  const filled = await fillMail(session, rows, passwordHash);
  const role = "smtp_proxy_group";
  const database: Database = opened.use(
    openDatabase({ url: urlWith(url, { user: "api_server" }), role, poolMax: 1 }),
  );
  const groups = { "1 %": filled.small, "90 %": filled.large };
  return { target: { session, database, groups }, filled };
}

async function logIn(port: number, email: string, group: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${port}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email, password: personPassword, "group_id": group }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`Cannot log in: the API answered ${response.status} ${text}`);
  return JSON.parse(text)["access_token"];
}

function urlWith(url: string, { user, path }: { readonly user?: string; readonly path?: string }): string {
  const changed = new URL(url);
  if (user !== undefined) changed.username = user;
  if (path !== undefined) changed.pathname = `/${path}`;
  return changed.href;
}
