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
 * A page of a group's activities, or for operators of all, newest first. Those of one actor or about one resource are
 * read by an index of their own, however many others there are.
 */
export async function listActivity(
  sql: GroupSql | SystemSql,
  group: GroupId | undefined,
  filter: ActivityFilter,
  page: ActivityPage,
): Promise<readonly ActivityEntry[]> {
  const wanted = boundsOf(filter, page);
  return group === undefined ? await listAll(sql, wanted) : await listOfGroup(sql, group, wanted);
}

type Wanted = ReturnType<typeof boundsOf>;

function boundsOf(filter: ActivityFilter, { after, limit, offset = 0 }: ActivityPage) {
  const { action = null, resourceType = null, resourceId = null, actor = null, since, until } = filter;
  const from = since === undefined ? firstId : firstIdAt(since.getTime());
  const end = until === undefined ? lastId : firstIdAt(until.getTime());
  const before = after === undefined || after > end ? end : after;
  return { action, resourceType, resourceId, actor, from, before, limit, offset };
}

// One statement for each index: the server keeps a statement's plan, whatever it is asked with.
async function listOfGroup(sql: Sql, group: GroupId, wanted: Wanted): Promise<readonly ActivityEntry[]> {
  const { action, resourceType, resourceId, actor, from, before, limit, offset } = wanted;
  if (resourceId !== null) {
    return await sql<ActivityEntry>`
          select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
          host(ip_address) as ip_address, correlation_id, created_at
          from activity_logs
          where group_id = ${group} and resource_id = ${resourceId} and id < ${before} and id >= ${from} and (action = ${action} or ${action}::text is null)
          and (resource_type = ${resourceType} or ${resourceType}::text is null)
          and (actor_id = ${actor} or ${actor}::uuid is null)
          order by id desc limit ${limit} offset ${offset}`;
  }
  if (actor !== null) {
    return await sql<ActivityEntry>`
          select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
          host(ip_address) as ip_address, correlation_id, created_at
          from activity_logs
          where group_id = ${group} and actor_id = ${actor} and id < ${before} and id >= ${from} and (action = ${action} or ${action}::text is null)
          and (resource_type = ${resourceType} or ${resourceType}::text is null)
          order by id desc limit ${limit} offset ${offset}`;
  }
  return await sql<ActivityEntry>`
        select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
        host(ip_address) as ip_address, correlation_id, created_at
        from activity_logs
        where group_id = ${group} and id < ${before} and id >= ${from} and (action = ${action} or ${action}::text is null)
        and (resource_type = ${resourceType} or ${resourceType}::text is null)
        order by id desc limit ${limit} offset ${offset}`;
}

async function listAll(sql: Sql, wanted: Wanted): Promise<readonly ActivityEntry[]> {
  const { action, resourceType, resourceId, actor, from, before, limit, offset } = wanted;
  if (resourceId !== null) {
    return await sql<ActivityEntry>`
          select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
          host(ip_address) as ip_address, correlation_id, created_at
          from activity_logs
          where resource_id = ${resourceId} and id < ${before} and id >= ${from} and (action = ${action} or ${action}::text is null)
          and (resource_type = ${resourceType} or ${resourceType}::text is null)
          and (actor_id = ${actor} or ${actor}::uuid is null)
          order by id desc limit ${limit} offset ${offset}`;
  }
  if (actor !== null) {
    return await sql<ActivityEntry>`
          select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
          host(ip_address) as ip_address, correlation_id, created_at
          from activity_logs
          where actor_id = ${actor} and id < ${before} and id >= ${from} and (action = ${action} or ${action}::text is null)
          and (resource_type = ${resourceType} or ${resourceType}::text is null)
          order by id desc limit ${limit} offset ${offset}`;
  }
  return await sql<ActivityEntry>`
        select id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes, comment,
        host(ip_address) as ip_address, correlation_id, created_at
        from activity_logs
        where id < ${before} and id >= ${from} and (action = ${action} or ${action}::text is null)
        and (resource_type = ${resourceType} or ${resourceType}::text is null)
        order by id desc limit ${limit} offset ${offset}`;
}
