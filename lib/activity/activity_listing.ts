import { firstId, firstIdAt, type GroupId, lastId, type UserId } from "../ids.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";

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

/** Which part of the list. */
export interface ActivityPage {
  readonly after?: string;
  readonly limit: number;
  readonly offset?: number;
}

/**
 * A page of a group's activities, or for operators of all, newest first. Whatever they are filtered by, they are read
 * along an index, however many others there are.
 */
export async function listActivity(
  sql: GroupSql | SystemSql,
  group: GroupId | undefined,
  { action, resourceType, resourceId, actor, since, until }: ActivityFilter,
  { after, limit, offset = 0 }: ActivityPage,
): Promise<readonly ActivityEntry[]> {
  const from = since === undefined ? firstId : firstIdAt(since.getTime());
  const end = until === undefined ? lastId : firstIdAt(until.getTime());
  const before = after === undefined || after > end ? end : after;
  return await (sql as Sql)<ActivityEntry>`
    select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
      host(ip_address) as ip_address, correlation_id, created_at
    from find_activities(${group ?? null}, ${before}, ${from}, ${limit}, ${offset}, ${action ?? null},
      ${resourceType ?? null}, ${resourceId ?? null}, ${actor ?? null})
    order by id desc`;
}
