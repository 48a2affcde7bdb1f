import type { GroupId } from "../../lib/ids.ts";
import { findGroups, findNeeded, hasMessages } from "../../lib/messages/retention_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import type { MessageStore, StoredBody } from "../../lib/store/message_store.ts";
import { removeAll } from "./give_up_bodies.ts";

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

/** How a collection went. */
export interface Collected {
  /** Bodies that are gone. */
  readonly count: number;
  /** The first of what failed; once there is much of that, the rest was left for another time. */
  readonly failure?: { readonly error: unknown };
}

/**
 * Removes bodies older than a day that no message needs: orphans of submissions that failed, and what was given up and
 * never removed (ruling 3.15). What fails keeps none of the others; throws when the database does. Bodies of groups that
 * this database does not know are left alone: they may be another installation's, and a database without any message
 * knows nobody's.
 */
export async function collectBodies(parts: CollectParts): Promise<Collected> {
  if (!await hasMessages(parts.sql)) return { count: 0 };
  const failures: unknown[] = [];
  let count = 0;
  for await (const page of pagesOf(parts, failures)) {
    count += await collectPage(parts, page, failures);
    if (failures.length >= enoughFailures) break;
  }
  return failures.length === 0 ? { count } : { count, failure: { error: failures[0] } };
}

/** A list that fails has named what it could before. */
async function* pagesOf(
  { store, nowMs, signal }: CollectParts,
  failures: unknown[],
): AsyncGenerator<readonly StoredBody[]> {
  let page: StoredBody[] = [];
  try {
    for await (const body of store.list(new Date(nowMs - leastAgeMs))) {
      if (signal.aborted) return;
      page.push(body);
      if (page.length < pageSize) continue;
      yield page;
      page = [];
    }
  } catch (error) {
    failures.push(error);
  }
  if (page.length > 0) yield page;
}

async function collectPage(
  { sql, store }: CollectParts,
  page: readonly StoredBody[],
  failures: unknown[],
): Promise<number> {
  const needed = await findNeeded(sql, page);
  const orphans = page.filter(({ ref }) => !needed.has(ref));
  let count = 0;
  for (let at = 0; at < orphans.length && failures.length < enoughFailures; at += labelsAtOnce) {
    const some = orphans.slice(at, at + labelsAtOnce);
    const groups = await groupsOf(some, failures);
    const known = await findGroups(sql, groups.filter((group) => group !== undefined));
    const ours = some.filter((_, index) => known.has(groups[index] ?? nobody));
    const ends = await removeAll(store, ours);
    failures.push(...ends.failures);
    count += ends.count;
  }
  return count;
}

/** Whose each body is, as far as its label can be read. */
async function groupsOf(
  bodies: readonly StoredBody[],
  failures: unknown[],
): Promise<readonly (GroupId | undefined)[]> {
  const labels = await Promise.allSettled(bodies.map(async ({ label }) => await label()));
  return labels.map((end) => {
    if (end.status === "fulfilled") return end.value?.group;
    failures.push(end.reason);
    return undefined;
  });
}

const nobody = "" as GroupId;
