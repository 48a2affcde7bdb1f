import { firstId, firstIdAt, type GroupId, lastId, type RefusedSubmissionId } from "../ids.ts";
import { parseAddress } from "../network/cidr.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";
import { storable } from "../storable.ts";

/** Something that a client wanted and was refused at SMTP; texts may be anybody's, and are made storable. */
export interface RefusedSubmission {
  readonly id: RefusedSubmissionId;
  /** Absent where the client had not logged in: then the group is found by the account's name. */
  readonly group?: GroupId | undefined;
  /** The account's name as it was tried. */
  readonly account?: string | undefined;
  readonly address: string;
  /** The command, for MAIL and RCPT with its arguments; never a credential. */
  readonly command: string;
  /** The envelope sender, where one was named. */
  readonly sender?: string | undefined;
  readonly code: number;
  readonly enhanced?: string | undefined;
  /** A refusal's code, or the row of the protocol's own replies. */
  readonly reason: string;
  readonly reply: string;
  readonly tls?: string | undefined;
  readonly correlationId: string;
  /** How many of the same kind it stands for. */
  readonly times: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

/** Writes a batch down in one statement. The group of who had not logged in is that of the account of this name. */
export async function insertRefused(sql: SystemSql, refused: readonly RefusedSubmission[]): Promise<void> {
  const rows = JSON.stringify(refused.map((one) => ({
    id: one.id,
    "group_id": one.group,
    account: one.account && storable(one.account, 255),
    address: parseAddress(one.address) === undefined ? undefined : one.address,
    command: storable(one.command, 512),
    sender: one.sender && storable(one.sender, 320),
    code: one.code,
    enhanced: one.enhanced,
    reason: storable(one.reason, 64),
    reply: storable(one.reply, 512),
    tls: one.tls && storable(one.tls, 100),
    "correlation_id": storable(one.correlationId, 128),
    times: one.times,
    "first_at": one.firstAt,
    "last_at": one.lastAt,
  })));
  await sql`
    insert into refused_submissions (id, group_id, account, address, command, sender, code, enhanced, reason, reply, tls,
      correlation_id, times, first_at, last_at)
    select r.id, coalesce(r.group_id, (
        select m.group_id from users u join group_members m on m.user_id = u.id
        where lower(u.username) = lower(r.account) and u.account_type = 'smtp' and u.status <> 'deleted')),
      r.account, r.address, r.command, r.sender, r.code, r.enhanced, r.reason, r.reply, r.tls, r.correlation_id, r.times,
      r.first_at, r.last_at
    from jsonb_to_recordset(${rows}::jsonb) as r (id uuid, group_id uuid, account text, address inet, command text,
      sender text, code smallint, enhanced text, reason text, reply text, tls text, correlation_id text, times integer,
      first_at timestamptz, last_at timestamptz)`;
}

/** A record as it is listed. */
export interface RefusedEntry {
  readonly id: RefusedSubmissionId;
  readonly groupId: GroupId | null;
  readonly account: string | null;
  readonly address: string | null;
  readonly command: string;
  readonly sender: string | null;
  readonly code: number;
  readonly enhanced: string | null;
  readonly reason: string;
  readonly reply: string;
  readonly tls: string | null;
  readonly correlationId: string;
  readonly times: number;
  readonly firstAt: Date;
  readonly lastAt: Date;
}

/** Which records; everything that is not given lets all pass. */
export interface RefusedFilter {
  /** In any case. */
  readonly account?: string | undefined;
  /** An address, or a network as CIDR. */
  readonly address?: string | undefined;
  /** The basic reply code. */
  readonly code?: number | undefined;
  readonly reason?: string | undefined;
  readonly since?: Date | undefined;
  readonly until?: Date | undefined;
}

/** A page of what a group was refused, newest first. */
export async function listRefused(
  sql: GroupSql,
  group: GroupId,
  filter: RefusedFilter,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly RefusedEntry[]> {
  const { from, before, account, address, code, reason } = boundsOf(filter, page);
  return await sql<RefusedEntry>`
    select id, group_id, account, host(address) as address, command, sender, code, enhanced, reason, reply, tls,
      correlation_id, times, first_at, last_at
    from refused_submissions
    where group_id = ${group} and id < ${before} and id >= ${from}
      and (code = ${code} or ${code}::smallint is null) and (reason = ${reason} or ${reason}::text is null)
      and (lower(account) = lower(${account}) or ${account}::text is null)
      and (address <<= ${address}::inet or ${address}::inet is null)
    order by id desc limit ${page.limit}`;
}

/** The same of those whom no account's name made anybody's; for the operator's role. */
export async function listNobodysRefused(
  sql: SystemSql,
  filter: RefusedFilter,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly RefusedEntry[]> {
  const { from, before, account, address, code, reason } = boundsOf(filter, page);
  return await (sql as Sql)<RefusedEntry>`
    select id, group_id, account, host(address) as address, command, sender, code, enhanced, reason, reply, tls,
      correlation_id, times, first_at, last_at
    from refused_submissions
    where group_id is null and id < ${before} and id >= ${from}
      and (code = ${code} or ${code}::smallint is null) and (reason = ${reason} or ${reason}::text is null)
      and (lower(account) = lower(${account}) or ${account}::text is null)
      and (address <<= ${address}::inet or ${address}::inet is null)
    order by id desc limit ${page.limit}`;
}

function boundsOf(filter: RefusedFilter, page: { readonly after?: string }) {
  const { account = null, address = null, code = null, reason = null, since, until } = filter;
  const end = until === undefined ? lastId : firstIdAt(until.getTime());
  return {
    from: since === undefined ? firstId : firstIdAt(since.getTime()),
    before: page.after === undefined || page.after > end ? end : page.after,
    account,
    address,
    code,
    reason,
  };
}

/** Removes a portion of what is older than the newest `keep` of each group, and of nobody's; answers how many went. */
export async function trimRefused(sql: SystemSql, keep: number, portion: number): Promise<number> {
  // From group to group by the index, so that it costs what is kept of each and not what all have.
  const rows = await sql`
    with recursive lanes as (
      (select group_id from refused_submissions where group_id is not null order by group_id limit 1)
      union all
      select (select r.group_id from refused_submissions r where r.group_id > l.group_id order by r.group_id limit 1)
      from lanes l where l.group_id is not null
    ), over as (
      select o.id from lanes l cross join lateral (
          select r.id from refused_submissions r where r.group_id = l.group_id order by r.id desc
          offset ${keep} limit ${portion}) o
        where l.group_id is not null
      union all
      (select r.id from refused_submissions r where r.group_id is null order by r.id desc offset ${keep} limit ${portion})
      limit ${portion}
    )
    delete from refused_submissions where id = any(array(select id from over)) returning id`;
  return rows.length;
}

/** Removes a portion of what was refused before a moment, in milliseconds since 1970; answers how many went. */
export async function purgeRefused(sql: SystemSql, beforeMs: number, portion: number): Promise<number> {
  const rows = await sql`
    delete from refused_submissions where id = any(array(
      select id from refused_submissions where id < ${
    firstIdAt(beforeMs)
  }::uuid order by id limit ${portion}))
    returning id`;
  return rows.length;
}
