import { join } from "node:path";
import type { DataFolder } from "./data_folder.ts";
import type { ServiceLogin } from "../../lib/postgres/service_logins.ts";

/** The variables of one process. */
export type Variables = Readonly<Record<string, string>>;

/** Where the data folder is when nobody says otherwise. */
export const defaultDataFolder = ".data";
/** PostgreSQL's port when nobody says otherwise. */
export const defaultPostgresPort = 25432;
/** The database that everything is in. */
export const databaseName = "smtp_proxy";

/** Settings that `dev` has other defaults for than production: loopback and ports that need no privilege. */
export const devDefaults: Variables = {
  SMTP_PROXY_ENVIRONMENT: "development",
  SMTP_PROXY_SMTP_HOST: "127.0.0.1",
  SMTP_PROXY_SMTP_PORT: "2587",
  SMTP_PROXY_SMTP_IMPLICIT_TLS_PORT: "2465",
  SMTP_PROXY_API_HOST: "127.0.0.1",
  SMTP_PROXY_LOGGING_FORMAT: "text",
};

/** PostgreSQL's port, from SMTP_PROXY_DEV_POSTGRES_PORT. */
export function postgresPort(given: Variables): number {
  const text = given["SMTP_PROXY_DEV_POSTGRES_PORT"];
  if (text === undefined || text === "") return defaultPostgresPort;
  if (/^\d{1,5}$/.test(text) && Number(text) > 0 && Number(text) < 65536) return Number(text);
  throw new Error(`Cannot start: SMTP_PROXY_DEV_POSTGRES_PORT is not a port: current value is "${text}"`);
}

/**
 * What every service is given: `dev`'s defaults and what the data folder holds, under what the person has set. The
 * database is always `dev`'s own, so that a variable meant for production leads to no other.
 */
export function serviceVariables(given: Variables, data: DataFolder): Variables {
  const own: Variables = {
    ...devDefaults,
    SMTP_PROXY_STORAGE_PATH: data.messages,
    SMTP_PROXY_ESP_FILE_FOLDER: join(data.path, "mail"),
    SMTP_PROXY_LOGGING_FILE_PATH: join(data.path, "log", "smtp-proxy.log"),
    SMTP_PROXY_SECRETS_KEYS: data.secrets.sealingKeys,
    SMTP_PROXY_AUTH_SIGNING_KEY: data.secrets.signingKey,
  };
  const set = Object.fromEntries(
    Object.entries(given).filter(([name, value]) => value !== "" && !name.startsWith("SMTP_PROXY_DATABASE_")),
  );
  const unset = Object.entries(own).filter(([name]) => set[`${name}_FILE`] === undefined);
  return { ...Object.fromEntries(unset), ...set, SMTP_PROXY_STOP_WITH_PARENT: "true" };
}

/** Adds a service's own login to what every service is given. */
export function withLogin(
  variables: Variables,
  data: DataFolder,
  port: number,
  login: ServiceLogin,
): Variables {
  const url = databaseUrl(login, data.secrets.logins[login], port, databaseName);
  return { ...variables, SMTP_PROXY_DATABASE_URL: url };
}

/** A connection string for the server on 127.0.0.1. */
export function databaseUrl(user: string, password: string, port: number, database: string): string {
  return `postgres://${user}:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
}
