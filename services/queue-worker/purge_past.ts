import { purgeActivities } from "../../lib/activity/activity_table.ts";
import { purgeKeys } from "../../lib/api_keys/api_keys_table.ts";
import { purgeWorkers } from "../../lib/messages/claims_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { inPortions } from "./in_portions.ts";

/** What the removal of the past works with. */
export interface PastParts {
  readonly sql: SystemSql;
  /** How long activities and keys that hold no longer are kept; absent is for ever. */
  readonly activitiesMs?: number;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
  /** Rows in one step. */
  readonly portion?: number;
}

const defaultPortion = 2000;

/**
 * Removes activities and API keys that hold no longer after their time, and names of workers that are gone for a week;
 * how many rows went (ruling 3.15).
 */
export async function purgePast(parts: PastParts): Promise<number> {
  const { sql, activitiesMs, nowMs, signal, portion = defaultPortion } = parts;
  let removed = await inPortions(() => purgeWorkers(sql, portion), portion, signal);
  if (activitiesMs === undefined) return removed;
  for (const purge of [purgeActivities, purgeKeys]) {
    removed += await inPortions(() => purge(sql, nowMs - activitiesMs, portion), portion, signal);
  }
  return removed;
}
