import type { Secret } from "../config/secret.ts";
import { type Database, openDatabase } from "../postgres/database.ts";
import type { Log } from "./log_fields.ts";
import type { Metrics } from "./metrics.ts";

/** The values of the `database.*` settings. */
export interface DatabaseSettings {
  readonly url: Secret;
  readonly poolMin: number;
  readonly poolMax: number;
  readonly connectTimeout: number;
}

/** Whose connections they are, and who is told of them. */
export interface DatabaseWatch {
  readonly service: string;
  readonly role: string;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Longest time one statement may take; as `openDatabase` has it when not given. */
  readonly statementTimeoutMs?: number;
}

/** Opens a service's pool in its role; statements, faults and connections show in the service's metrics. */
export function openWatchedDatabase(settings: DatabaseSettings, watch: DatabaseWatch): Database {
  const { service, role, log, metrics: { database: metrics, onScrape } } = watch;
  const database = openDatabase({
    url: settings.url.reveal(),
    role,
    poolMin: settings.poolMin,
    poolMax: settings.poolMax,
    connectTimeoutMs: settings.connectTimeout,
    applicationName: service,
    ...(watch.statementTimeoutMs !== undefined && { statementTimeoutMs: watch.statementTimeoutMs }),
    onIdleError: (error) => log.warn("database connection lost", { error }),
    onStatement: (query, seconds, failed) => {
      metrics.queryDuration.observe({ query }, seconds);
      if (failed) metrics.errors.add({ query });
    },
  });
  onScrape(() => {
    const { active, idle } = database.connections();
    metrics.active.set(active);
    metrics.idle.set(idle);
  });
  return database;
}
