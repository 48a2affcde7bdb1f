import { openSession } from "../../lib/postgres/database.ts";
import { type ServiceLogin, serviceLogins, type ServiceRole } from "../../lib/postgres/service_logins.ts";

/** The environment variable that names the server which `tests/run.ts` started. */
export const serverVariable = "SMTP_PROXY_TEST_POSTGRES";
/** The migrated database that every test's database is a copy of. */
export const templateDatabase = "smtp_proxy_template";

/** A database of one test's own, dropped when disposed, whoever is still connected. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string;
  /** Logs in as the superuser, who sees and may do everything. */
  readonly ownerUrl: string;
  /** Logs in as the service that acts as a role; open it with that `role`. */
  urlFor(role: ServiceRole): string;
}

/** A fresh copy of the migrated schema, or with `empty` a database in which nothing was migrated. */
export async function testDatabase(options: { readonly empty?: boolean } = {}): Promise<TestDatabase> {
  const server = serverUrl();
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const template = options.empty === true ? "template0" : templateDatabase;
  await administer(server, `create database ${name} template ${template} strategy file_copy`);
  return {
    name,
    ownerUrl: urlOf(server, name),
    urlFor: (role) => urlOf(server, name, loginOf(role)),
    [Symbol.asyncDispose]: () => administer(server, `drop database ${name} with (force)`),
  };
}

async function administer(url: string, statement: string): Promise<void> {
  await using session = await openSession({ url, connectTimeoutMs: 60_000, statementTimeoutMs: 300_000 });
  await session.run(statement);
}

function serverUrl(): string {
  const url = Deno.env.get(serverVariable);
  if (url !== undefined) return url;
  throw new Error(
    "Cannot make a test database: run tests with `deno task test [FILE...]`, which starts the server",
  );
}

function urlOf(server: string, database: string, login?: ServiceLogin): string {
  const url = new URL(server);
  url.pathname = `/${database}`;
  if (login !== undefined) url.username = login;
  return url.href;
}

function loginOf(role: ServiceRole): ServiceLogin {
  for (const login of Object.keys(serviceLogins) as ServiceLogin[]) {
    if ((serviceLogins[login] as readonly ServiceRole[]).includes(role)) return login;
  }
  throw new Error(`Cannot log in for ${role}: no service acts as it`);
}
