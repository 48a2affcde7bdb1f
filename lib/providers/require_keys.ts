import type { SystemSql } from "../postgres/sql.ts";
import type { Log } from "../telemetry/log_fields.ts";
import { hasSealed } from "./sealed_secrets_table.ts";

/** Whether the program has keys, and how strict it is. */
export interface RequireKeysOptions {
  readonly hasKeys: boolean;
  readonly development: boolean;
  readonly log: Log;
}

/**
 * Throws where secrets are sealed and there is no key to open them (ruling 1.3); in development it only warns. Throws
 * too when the database cannot be asked.
 */
export async function requireKeys(
  sql: SystemSql,
  { hasKeys, development, log }: RequireKeysOptions,
): Promise<void> {
  if (hasKeys || !await hasSealed(sql)) return;
  if (!development) throw new Error(`Cannot start: ${reason}; set it to the keys that sealed them`);
  log.warn("sealed secrets cannot be opened", { reason });
}

const reason = "secrets of providers are sealed in the database, and secrets.keys names no key";
