import { type GroupId, lastId } from "../ids.ts";
import { violatedConstraint } from "../postgres/faults.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";
import { Refusal } from "../refusal.ts";
import type { Group, GroupStatus } from "./group.ts";

/** A group as it is listed. */
export interface GroupEntry extends Group {
  /** Messages of this month (UTC). */
  readonly monthlySent: number;
  /** CIDR texts; null allows every address. */
  readonly allowedIps: readonly string[] | null;
  /** Whether addresses are suppressed that a service reports a hard bounce or a complaint of. */
  readonly suppressReported: boolean;
  /** Seconds for which bodies of mail that was delivered, or is dead, are kept; null: as long as for everybody. */
  readonly retentionDelivered: number | null;
  readonly retentionFailed: number | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** A page of all groups, newest first, deleted ones too. */
export async function listGroups(
  sql: SystemSql,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly GroupEntry[]> {
  return await sql<GroupEntry>`
    select g.id, g.name, g.group_type, g.status, g.monthly_limit, g.allowed_domains,
      g.allowed_ips::text[] as allowed_ips, g.suppress_reported, g.created_at, g.updated_at,
      coalesce(u.messages, 0) as monthly_sent,
      extract(epoch from g.retention_delivered)::float8 as retention_delivered,
      extract(epoch from g.retention_failed)::float8 as retention_failed
    from groups g left join usage u on u.group_id = g.id
      and u.month = (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date
    where g.id < ${page.after ?? lastId}
    order by g.id desc limit ${page.limit}`;
}

/** One group. */
export async function findGroup(sql: GroupSql | SystemSql, id: GroupId): Promise<GroupEntry | undefined> {
  const [group] = await (sql as Sql)<GroupEntry>`
    select g.id, g.name, g.group_type, g.status, g.monthly_limit, g.allowed_domains,
      g.allowed_ips::text[] as allowed_ips, g.suppress_reported, g.created_at, g.updated_at,
      coalesce(u.messages, 0) as monthly_sent,
      extract(epoch from g.retention_delivered)::float8 as retention_delivered,
      extract(epoch from g.retention_failed)::float8 as retention_failed
    from groups g left join usage u on u.group_id = g.id
      and u.month = (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date
    where g.id = ${id}`;
  return group;
}

/** What of a group its owners may change; what is not given stays. */
export interface GroupChange {
  readonly name?: string | undefined;
  /** Null lets every address in. */
  readonly allowedIps?: readonly string[] | null | undefined;
  readonly suppressReported?: boolean | undefined;
  /** Seconds; null is as long as for everybody. */
  readonly retentionDelivered?: number | null | undefined;
  readonly retentionFailed?: number | null | undefined;
}

/** Changes a group; throws Refusal("name_taken"). */
export async function updateGroup(
  sql: GroupSql | SystemSql,
  id: GroupId,
  { name, allowedIps, suppressReported, retentionDelivered, retentionFailed }: GroupChange,
): Promise<void> {
  await orNameTaken(() =>
    (sql as Sql)`
      update groups set name = coalesce(${name ?? null}, name), updated_at = now(),
        suppress_reported = coalesce(${suppressReported ?? null}::boolean, suppress_reported),
        allowed_ips = case when not ${allowedIps !== undefined} then allowed_ips
          when ${allowedIps ?? null}::text[] is null then null
          else array(select network(given::inet) from unnest(${allowedIps ?? null}::text[]) given) end,
        retention_delivered = case when not ${retentionDelivered !== undefined} then retention_delivered
          else make_interval(secs => ${retentionDelivered ?? null}) end,
        retention_failed = case when not ${retentionFailed !== undefined} then retention_failed
          else make_interval(secs => ${retentionFailed ?? null}) end
      where id = ${id}`
  );
}

/** What of a group operators alone may change; what is not given stays. */
export interface GroupLimits {
  readonly status?: GroupStatus | undefined;
  readonly monthlyLimit?: number | undefined;
  readonly allowedDomains?: readonly string[] | undefined;
}

/** Changes what a group may do. */
export async function updateGroupLimits(
  sql: SystemSql,
  id: GroupId,
  { status, monthlyLimit, allowedDomains }: GroupLimits,
): Promise<void> {
  const domains = allowedDomains === undefined ? null : JSON.stringify(allowedDomains);
  await sql`
    update groups set status = coalesce(${status ?? null}, status),
      monthly_limit = coalesce(${monthlyLimit ?? null}::integer, monthly_limit),
      allowed_domains = coalesce(${domains}::jsonb, allowed_domains), updated_at = now()
    where id = ${id}`;
}

/** Creates a group; throws Refusal("name_taken"). */
export async function createGroup(sql: SystemSql, group: Group): Promise<void> {
  await orNameTaken(() =>
    sql`
      insert into groups (id, name, group_type, status, monthly_limit, allowed_domains)
      values (${group.id}, ${group.name}, ${group.groupType}, ${group.status}, ${group.monthlyLimit},
        ${JSON.stringify(group.allowedDomains)}::jsonb)`
  );
}

/** Suspends the SMTP accounts of a group that is deleted. */
export async function suspendAccounts(sql: SystemSql, group: GroupId): Promise<void> {
  await sql`
    update users set status = 'suspended', updated_at = now()
    where account_type = 'smtp' and status = 'active'
      and id in (select user_id from group_members where group_id = ${group})`;
}

/** Whether a group has mail that is neither sent nor given up. */
export async function hasUnfinishedMail(sql: SystemSql, group: GroupId): Promise<boolean> {
  const [row] = await sql<{ found: boolean }>`
    select exists (select from messages where group_id = ${group} and status in ('queued', 'processing')) as found`;
  return row?.found ?? false;
}

/** Cancels what a group has in the queue; what is being sent at this moment goes on. Answers how many. */
export async function cancelQueuedMail(sql: SystemSql, group: GroupId): Promise<number> {
  const [row] = await sql<{ cancelled: number }>`
    with gone as (
      update messages set status = 'cancelled', failure_code = 'cancelled', processed_at = now()
      where group_id = ${group} and status = 'queued' returning id),
    addressed as (
      update recipients r set status = 'cancelled', failure_code = 'cancelled', updated_at = now()
      where r.message_id in (select id from gone) and r.group_id = ${group} and r.status = 'pending' returning 1)
    select count(*)::int as cancelled from gone`;
  return row?.cancelled ?? 0;
}

async function orNameTaken(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (violatedConstraint(error) !== "groups_name_key") throw error;
    throw new Refusal("name_taken", "group name already exists", { field: "name" });
  }
}
