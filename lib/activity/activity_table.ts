import { firstId, firstIdAt, type GroupId, lastId, type UserId } from "../ids.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";

/** One change, as it is told for ever: who did what to what, where from. */
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

/** An activity as it is listed. */
export interface ActivityEntry {
  readonly id: string;
  readonly groupId: GroupId | null;
  readonly actorId: UserId | null;
  readonly actorGroupId: GroupId | null;
  readonly action: string;
  readonly resourceType: string;
  readonly resourceId: string | null;
  readonly changes: unknown;
  readonly comment: string | null;
  readonly ipAddress: string | null;
  readonly correlationId: string | null;
  readonly createdAt: Date;
}

/** Which activities; everything that is not given lets all pass. */
export interface ActivityFilter {
  readonly action?: string | undefined;
  readonly resourceType?: string | undefined;
  readonly resourceId?: string | undefined;
  readonly actor?: string | undefined;
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
}

/** A page of a group's activities, or for operators of all, newest first. */
export async function listActivity(
  sql: GroupSql | SystemSql,
  group: GroupId | undefined,
  filter: ActivityFilter,
  page: { readonly after?: string; readonly limit: number; readonly offset?: number },
): Promise<readonly ActivityEntry[]> {
  const { action = null, resourceType = null, resourceId = null, actor = null, since, until } = filter;
  const from = since === undefined ? firstId : firstIdAt(since.getTime());
  const end = until === undefined ? lastId : firstIdAt(until.getTime());
  const before = page.after === undefined || page.after > end ? end : page.after;
  if (group === undefined) {
    return await (sql as Sql)<ActivityEntry>`
      select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
        host(ip_address) as ip_address, correlation_id, created_at
      from activity_logs
      where id < ${before} and id >= ${from} and (action = ${action} or ${action}::text is null)
        and (resource_type = ${resourceType} or ${resourceType}::text is null)
        and (resource_id = ${resourceId} or ${resourceId}::uuid is null)
        and (actor_id = ${actor} or ${actor}::uuid is null)
      order by id desc limit ${page.limit} offset ${page.offset ?? 0}`;
  }
  return await (sql as Sql)<ActivityEntry>`
    select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
      host(ip_address) as ip_address, correlation_id, created_at
    from activity_logs
    where group_id = ${group} and id < ${before} and id >= ${from}
      and (action = ${action} or ${action}::text is null)
      and (resource_type = ${resourceType} or ${resourceType}::text is null)
      and (resource_id = ${resourceId} or ${resourceId}::uuid is null)
      and (actor_id = ${actor} or ${actor}::uuid is null)
    order by id desc limit ${page.limit} offset ${page.offset ?? 0}`;
}
