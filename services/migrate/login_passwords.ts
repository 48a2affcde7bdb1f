import { type ServiceLogin, serviceLogins } from "../../lib/postgres/service_logins.ts";

/**
 * The passwords of the services' logins: `SMTP_PROXY_LOGIN_<LOGIN>_PASSWORD`, or the text of the file that the same
 * name with `_FILE` names. Throws a sentence with every variable that is missing.
 */
export function passwordsOf(
  variable: (name: string) => string | undefined,
  readFile: (path: string) => string,
): Readonly<Record<ServiceLogin, string>> {
  const logins = Object.keys(serviceLogins) as ServiceLogin[];
  const entries = logins.map((login) => {
    const name = nameOf(login);
    const file = variable(`${name}_FILE`);
    return [login, variable(name) || (file ? readFile(file).replace(/\r?\n$/, "") : "")] as const;
  });
  const missing = entries.filter(([, password]) => password === "").map(([login]) => nameOf(login));
  if (missing.length > 0) {
    throw new Error(`Cannot make the logins: ${missing.join(", ")} (or with _FILE) are not set`);
  }
  return Object.fromEntries(entries) as Record<ServiceLogin, string>;
}

function nameOf(login: ServiceLogin): string {
  return `SMTP_PROXY_LOGIN_${login.toUpperCase()}_PASSWORD`;
}
