import type { Session } from "../postgres/database.ts";
import { withoutRowSecurity } from "../postgres/without_row_security.ts";

/**
 * Makes dead letters (`failed`, `restored`) of all unfinished messages that were accepted before the given time, for
 * their recipients who are still pending; tells how many. For a database that was restored, by its owner and with no
 * worker running: what it holds as unfinished may have been delivered since the backup (ruling 3.22).
 */
export async function holdRestored(owner: Session, olderThan: Date): Promise<number> {
  return await withoutRowSecurity(owner, tables, async () => {
    const [row] = await owner.query(hold, [olderThan.toISOString()]);
    return Number(row?.["held"]);
  });
}

const tables = ["messages", "recipients"] as const;

const hold = `
  with held as (
    update messages set status = 'failed', failure_code = 'restored', claim = null, claimed_by = null,
      claimed_until = null, claims = 0, ring_after = null, rings = 0, processed_at = clock_timestamp()
    where status in ('queued', 'processing') and enqueued_at < $1::timestamptz
    returning id
  ), addressed as (
    update recipients r set status = 'failed', failure_code = 'restored', next_attempt_at = null,
      updated_at = clock_timestamp()
    from held where r.message_id = held.id and r.status = 'pending'
  )
  select count(*)::int as held from held`;
