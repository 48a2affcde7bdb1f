import type { GroupId } from "../../lib/ids.ts";
import { findGroups, findNeeded, hasMessages } from "../../lib/messages/retention_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import type { MessageStore, StoredBody } from "../../lib/store/message_store.ts";
import { removeBodies } from "./give_up_bodies.ts";

/** What the collector works with. */
export interface CollectParts {
  readonly sql: SystemSql;
  readonly store: Pick<MessageStore, "remove" | "list">;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
}

const leastAgeMs = 24 * 3_600_000;
const pageSize = 500;
const labelsAtOnce = 32;
/** Then the store or the database is down. */
const enoughFailures = 5;

/**
 * Removes bodies older than a day that no message needs: orphans of submissions that failed, and what was given up and
 * never removed (ruling 3.15). Answers how many; throws the first failure once it has been through the rest, and at
 * once when there are many. Bodies of groups that this database does not know are left alone: they
 * may be another installation's, and a database without any message knows nobody's.
 */
export async function collectBodies(parts: CollectParts): Promise<number> {
  const { sql, store, nowMs, signal } = parts;
  if (!await hasMessages(sql)) return 0;
  const failures: unknown[] = [];
  let count = 0;
  let page: StoredBody[] = [];
  for await (const body of store.list(new Date(nowMs - leastAgeMs))) {
    if (signal.aborted) return count;
    page.push(body);
    if (page.length < pageSize) continue;
    count += await collectPage(parts, page, failures);
    page = [];
  }
  count += await collectPage(parts, page, failures);
  if (failures.length > 0) throw failures[0];
  return count;
}

async function collectPage(
  { sql, store }: CollectParts,
  page: readonly StoredBody[],
  failures: unknown[],
): Promise<number> {
  const needed = await findNeeded(sql, page);
  const orphans = page.filter(({ ref }) => !needed.has(ref));
  let count = 0;
  for (let at = 0; at < orphans.length; at += labelsAtOnce) {
    const some = orphans.slice(at, at + labelsAtOnce);
    try {
      const groups = await Promise.all(some.map(async ({ label }) => (await label())?.group));
      const known = await findGroups(sql, groups.filter((group) => group !== undefined));
      const ours = some.filter((_, index) => known.has(groups[index] ?? nobody));
      await removeBodies(store, ours);
      count += ours.length;
    } catch (error) {
      // One body that cannot be removed keeps none of the others.
      if (failures.push(error) === enoughFailures) throw error;
    }
  }
  return count;
}

const nobody = "" as GroupId;
