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
  /** Milliseconds that never go back; the process's own when not given. */
  readonly clock?: () => number;
}

const leastAgeMs = 24 * 3_600_000;
const pageSize = 500;
const labelsAtOnce = 32;
/** After this time on bodies of which none could be removed, the rest waits for another time: the store may be down. */
const longestInVainMs = 60_000;

/** How a collection went. */
export interface Collected {
  /** Bodies that are gone. */
  readonly count: number;
  /** The first of what failed. */
  readonly failure?: { readonly error: unknown };
}

/**
 * Removes bodies older than a day that no message needs: orphans of submissions that failed, and what was given up and
 * never removed (ruling 3.15). What fails keeps none of the others; throws when the database does. Bodies of groups that
 * this database does not know are left alone: they may be another installation's, and a database without any message
 * knows nobody's.
 */
export async function collectBodies(parts: CollectParts): Promise<Collected> {
  const walk: Walk = { count: 0, failed: 0, inVainMs: 0 };
  if (await hasMessages(parts.sql)) {
    for await (const page of pagesOf(parts, walk)) {
      await collectPage(parts, page, walk);
      if (walk.inVainMs >= longestInVainMs) break;
    }
  }
  const { count, failure } = walk;
  return failure === undefined ? { count } : { count, failure };
}

interface Walk {
  count: number;
  failed: number;
  /** The first. */
  failure?: { readonly error: unknown };
  /** Since a body could be removed. */
  inVainMs: number;
}

function note(walk: Walk, errors: readonly unknown[]): void {
  walk.failed += errors.length;
  if (errors.length > 0) walk.failure ??= { error: errors[0] };
}

/** A list that fails has named what it could before. */
async function* pagesOf(
  { store, nowMs, signal }: CollectParts,
  walk: Walk,
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
    note(walk, [error]);
  }
  if (page.length > 0) yield page;
}

async function collectPage(
  { sql, store, clock = () => performance.now() }: CollectParts,
  page: readonly StoredBody[],
  walk: Walk,
): Promise<void> {
  const needed = await findNeeded(sql, page);
  const orphans = page.filter(({ ref }) => !needed.has(ref));
  for (let at = 0; at < orphans.length && walk.inVainMs < longestInVainMs; at += labelsAtOnce) {
    const some = orphans.slice(at, at + labelsAtOnce);
    const [failedBefore, began] = [walk.failed, clock()];
    const groups = await groupsOf(some, walk);
    const known = await findGroups(sql, groups.filter((group) => group !== undefined));
    const ours = some.filter((_, index) => known.has(groups[index] ?? nobody));
    const { count, failures } = await removeAll(store, ours);
    note(walk, failures);
    walk.count += count;
    if (count > 0) walk.inVainMs = 0;
    else if (walk.failed > failedBefore) walk.inVainMs += clock() - began;
  }
}

/** Whose each body is, as far as its label can be read. */
async function groupsOf(
  bodies: readonly StoredBody[],
  walk: Walk,
): Promise<readonly (GroupId | undefined)[]> {
  const labels = await Promise.allSettled(bodies.map(async ({ label }) => await label()));
  return labels.map((end) => {
    if (end.status === "fulfilled") return end.value?.group;
    note(walk, [end.reason]);
    return undefined;
  });
}

const nobody = "" as GroupId;
