import type { SystemSql } from "../../lib/postgres/sql.ts";
import { purgeRefused, trimRefused } from "../../lib/refused_submissions/refused_submissions_table.ts";
import { inPortions } from "./in_portions.ts";

/** What the removal of records of refusals works with. */
export interface TrimParts {
  readonly sql: SystemSql;
  /** How long rows are kept; absent is for ever. */
  readonly rowsMs?: number;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
  /** Records kept of each group; 10,000 when not given. */
  readonly keep?: number;
  /** Rows in one step. */
  readonly portion?: number;
}

const defaultKeep = 10_000;
const defaultPortion = 2000;

/** Leaves of each group, and of nobody's, the newest records of refusals, none older than other rows; how many went. */
export async function trimRefusals(parts: TrimParts): Promise<number> {
  const { sql, rowsMs, nowMs, signal, keep = defaultKeep, portion = defaultPortion } = parts;
  let removed = await inPortions(() => trimRefused(sql, keep, portion), portion, signal);
  if (rowsMs !== undefined) {
    removed += await inPortions(() => purgeRefused(sql, nowMs - rowsMs, portion), portion, signal);
  }
  return removed;
}
