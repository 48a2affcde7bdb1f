import { findNeeded, hasMessages } from "../../lib/messages/retention_table.ts";
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

/**
 * Removes bodies older than a day that no message needs: orphans of submissions that failed, and what was given up and
 * never removed (ruling 3.15). Answers how many; a database without any message is not believed to be theirs.
 */
export async function collectBodies({ sql, store, nowMs, signal }: CollectParts): Promise<number> {
  if (!await hasMessages(sql)) return 0;
  let count = 0;
  let page: StoredBody[] = [];
  async function removeOrphans(): Promise<void> {
    const needed = await findNeeded(sql, page);
    const orphans = page.filter(({ ref }) => !needed.has(ref));
    page = [];
    await removeBodies(store, orphans);
    count += orphans.length;
  }
  for await (const body of store.list(new Date(nowMs - leastAgeMs))) {
    if (signal.aborted) return count;
    page.push(body);
    if (page.length >= pageSize) await removeOrphans();
  }
  if (page.length > 0) await removeOrphans();
  return count;
}
