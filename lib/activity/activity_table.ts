import { firstIdAt, type GroupId, type UserId } from "../ids.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";

/** One change, as it is told: who did what to what, where from. */
export interface Activity {
  readonly group: GroupId | undefined;
  /** Undefined for whoever has a shell on the server. */
  readonly actor: UserId | undefined;
  /** The group whose member the actor is; another one than `group` when an operator acted. */
  readonly actorGroup: GroupId | undefined;
  /** `noun.verb`, 50 characters at most. */
  readonly action: string;
  readonly resourceType: string;
  readonly resourceId?: string | undefined;
  /** Before and after; secrets are masked by whoever tells. */
  readonly changes?: Readonly<Record<string, unknown>> | undefined;
  readonly comment?: string | undefined;
  readonly address: string | undefined;
  readonly correlationId: string | undefined;
}

/** Tells of a change, in the transaction that makes it. */
export async function recordActivity(sql: Sql, activity: Activity): Promise<void> {
  const { group = null, actor = null, actorGroup = null, action, resourceType, resourceId = null } = activity;
  const changes = activity.changes === undefined ? null : JSON.stringify(activity.changes);
  await sql`
    insert into activity_logs (group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes,
      comment, ip_address, correlation_id)
    values (${group}, ${actor}, ${actorGroup}, ${action}, ${resourceType}, ${resourceId}, ${changes}::jsonb,
      ${activity.comment ?? null}, ${activity.address ?? null}::inet, ${activity.correlationId ?? null})`;
}

/** How many test messages a group has sent since a moment; certain while the group is locked. */
export async function countTestMessages(sql: GroupSql, group: GroupId, since: Date): Promise<number> {
  const [row] = await sql<{ count: number }>`
    select count(*)::int as count from activity_logs
    where group_id = ${group} and id >= ${firstIdAt(since.getTime())}::uuid and action = 'provider.test'
      and changes ? 'to'`;
  return row?.count ?? 0;
}

/** Removes a portion of what was told before a moment, in milliseconds since 1970; answers how many went. */
export async function purgeActivities(sql: SystemSql, beforeMs: number, portion: number): Promise<number> {
  const rows = await sql`
    delete from activity_logs where id = any(array(
      select id from activity_logs where id < ${firstIdAt(beforeMs)}::uuid order by id limit ${portion}))
    returning id`;
  return rows.length;
}
