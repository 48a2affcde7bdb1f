import type { Session } from "../postgres/database.ts";

/**
 * Makes dead letters (`failed`, `restored`) of all unfinished messages that were accepted before the given time, for
 * their recipients who are still pending; tells how many. For a database that was restored, by its owner and with no
 * worker running: what it holds as unfinished may have been delivered since the backup (ruling 3.22).
 */
export async function holdRestored(owner: Session, olderThan: Date): Promise<number> {
  await owner.run("begin");
  try {
    // The owner's own statements are subject to row security too; lifting it locks the tables until the commit.
    await owner.run("set local lock_timeout = '5s'; set local role smtp_proxy_owner");
    for (const table of tables) await owner.run(`alter table ${table} no force row level security`);
    const [row] = await owner.query(hold, [olderThan.toISOString()]);
    for (const table of tables) await owner.run(`alter table ${table} force row level security`);
    await owner.run("commit");
    return Number(row?.["held"]);
  } catch (error) {
    await owner.run("rollback");
    throw error;
  }
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
