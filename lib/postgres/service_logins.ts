import { quoteName, type Session } from "./database.ts";

/** Each service's login and the roles it may act as (ruling 3.8). */
export const serviceLogins = {
  smtp_server: ["smtp_proxy_intake"],
  queue_worker: ["smtp_proxy_worker"],
  api_server: ["smtp_proxy_group", "smtp_proxy_login", "smtp_proxy_admin"],
} as const;

/** The name of a service's login. */
export type ServiceLogin = keyof typeof serviceLogins;
/** The name of a role that a service acts as. */
export type ServiceRole = (typeof serviceLogins)[ServiceLogin][number];

/** Creates the services' logins, or sets their passwords when they exist; the schema must have been migrated. */
export async function ensureLogins(
  session: Session,
  password: (login: ServiceLogin) => string,
): Promise<void> {
  for (const [name, roles] of Object.entries(serviceLogins)) {
    const login = name as ServiceLogin;
    const [found] = await session.query("select from pg_roles where rolname = $1", [login]);
    const verb = found === undefined ? "create" : "alter";
    await session.run(`${verb} role ${quoteName(login)} login password ${quoteText(password(login))}`);
    // A login with several roles has the rights of none until it switches to one.
    const inherit = roles.length === 1;
    for (const role of roles) {
      await session.run(`grant ${quoteName(role)} to ${quoteName(login)} with inherit ${inherit}`);
    }
  }
}

function quoteText(text: string): string {
  if (text.includes("\\")) throw new Error("Cannot set a password that contains a backslash");
  return `'${text.replaceAll("'", "''")}'`;
}
