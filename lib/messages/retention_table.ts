import type { GroupId, MessageId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import { spanOf } from "./id_span.ts";
import type { StorageRef } from "./message.ts";

/** How long bodies are kept once their message is finished; absent is for ever (ruling 3.15). */
export interface BodyTerms {
  readonly deliveredMs?: number;
  readonly failedMs?: number;
  /** For messages whose client was told to come again and has not. */
  readonly unansweredMs: number;
}

/** One step through the messages in the order in which they were accepted. */
export interface BodyPage {
  /** Messages whose body need not be kept any longer. */
  readonly due: readonly MessageId[];
  /** The last message looked at; absent when there was none. */
  readonly last?: MessageId;
}

/** Looks at the `limit` messages after one id and before another. */
export async function findDueBodies(
  sql: SystemSql,
  after: string,
  before: string,
  terms: BodyTerms,
  limit: number,
): Promise<BodyPage> {
  const [page] = await sql<{ due: readonly MessageId[] | null; last: MessageId | null }>`
    with page as materialized (
      select id, group_id, status, coalesce(processed_at, enqueued_at) as ended, body_removed_at from messages
      where id > ${after}::uuid and id < ${before}::uuid order by id limit ${limit}
    )
    select array_agg(p.id order by p.id) filter (where p.body_removed_at is null and body_kept_until(p.status, p.ended,
        g.retention_delivered, g.retention_failed, make_interval(secs => ${
    terms.deliveredMs ?? null
  }::float8 / 1000),
        make_interval(secs => ${terms.failedMs ?? null}::float8 / 1000),
        make_interval(secs => ${terms.unansweredMs}::float8 / 1000)) < clock_timestamp()) as due,
      (select id from page order by id desc limit 1) as last
    from page p join groups g on g.id = p.group_id`;
  return { due: page?.due ?? [], ...page?.last && { last: page.last } };
}

/** A body that no message names any more. */
export interface GivenUpBody {
  readonly id: MessageId;
  readonly ref: StorageRef;
}

/**
 * Writes down that bodies are gone, of those messages that are still finished and whose time is still over: from then
 * on none of them can be sent again, and whoever sends one again meanwhile keeps its body. Answers what can be removed.
 */
export async function giveUpBodies(
  sql: SystemSql,
  ids: readonly MessageId[],
  terms: BodyTerms,
): Promise<readonly GivenUpBody[]> {
  if (ids.length === 0) return [];
  const { first, last } = spanOf(ids);
  return await sql<GivenUpBody>`
    with due as materialized (
      select m.id from unnest(${ids}::uuid[]) as wanted(id)
        join messages m on m.id = any(array_fill(wanted.id, '{1}')) -- see spanOf()
        join groups g on g.id = m.group_id
      where m.id = any(${ids}::uuid[]) and m.id between ${first}::uuid and ${last}::uuid
        and m.body_removed_at is null and body_kept_until(m.status, coalesce(m.processed_at, m.enqueued_at),
        g.retention_delivered, g.retention_failed, make_interval(secs => ${
    terms.deliveredMs ?? null
  }::float8 / 1000),
        make_interval(secs => ${terms.failedMs ?? null}::float8 / 1000),
        make_interval(secs => ${terms.unansweredMs}::float8 / 1000)) < clock_timestamp()
      order by m.id for update of m skip locked
    )
    update messages m set body_removed_at = clock_timestamp(), body = null from due
    where m.id = due.id and m.body_removed_at is null
    returning m.id, m.storage_ref as ref`;
}

/** The shortest time for which any body is kept, in milliseconds, those of single groups included. */
export async function shortestKeeping(sql: SystemSql, terms: BodyTerms): Promise<number> {
  const [row] = await sql<{ ms: number | null }>`
    select (1000 * extract(epoch from least(min(retention_delivered), min(retention_failed))))::float8 as ms from groups`;
  const all = [terms.deliveredMs, terms.failedMs, terms.unansweredMs, row?.ms ?? undefined];
  return Math.min(...all.filter((ms) => ms !== undefined));
}

/** Of these bodies those that a message still needs. */
export async function findNeeded(
  sql: SystemSql,
  bodies: readonly { readonly id: MessageId; readonly ref: StorageRef }[],
): Promise<ReadonlySet<StorageRef>> {
  const rows = await sql<{ ref: StorageRef }>`
    select m.storage_ref as ref from unnest(${bodies.map(({ id }) => id)}::uuid[]) as found(id)
      join messages m on m.id = found.id
    where m.body_removed_at is null`;
  return new Set(rows.map(({ ref }) => ref));
}

/** Of these groups those that there are, whatever has become of them. */
export async function findGroups(sql: SystemSql, groups: readonly GroupId[]): Promise<ReadonlySet<GroupId>> {
  const rows = await sql<{ id: GroupId }>`
    select g.id from groups g where g.id::text = any(${[...new Set(groups)]}::text[])`;
  return new Set(rows.map(({ id }) => id));
}

/** Whether there is any message at all: without one, nobody can say whose a body is. */
export async function hasMessages(sql: SystemSql): Promise<boolean> {
  const [row] = await sql<{ any: boolean }>`select exists (select from messages limit 1) as any`;
  return row?.any ?? false;
}

/** A week of messages, by the ids it holds. */
export interface Week {
  readonly name: string;
  /** The first id after it. */
  readonly end: string;
}

/** The weeks that were over before an id, oldest first. */
export async function listWeeks(sql: SystemSql, before: string): Promise<readonly Week[]> {
  return await sql<Week>`
    select substr(c.relname, length('messages_') + 1) as name, message_week_end(c.oid) as end
    from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.messages'::regclass and message_week_end(c.oid) <= ${before}::uuid
    order by message_week_end(c.oid)`;
}

/** The first of the `limit` messages after an id and before another that is unfinished or has its body, and the last. */
export async function findKept(
  sql: SystemSql,
  after: string,
  before: string,
  limit: number,
): Promise<{ readonly kept?: MessageId; readonly last?: MessageId }> {
  const [page] = await sql<{ kept: MessageId | null; last: MessageId | null }>`
    with page as materialized (
      select id, status, body_removed_at from messages
      where id > ${after}::uuid and id < ${before}::uuid order by id limit ${limit}
    )
    select (select id from page where body_removed_at is null or status in ('queued', 'processing')
        order by id limit 1) as kept,
      (select id from page order by id desc limit 1) as last`;
  return { ...page?.kept && { kept: page.kept }, ...page?.last && { last: page.last } };
}

/** What one step towards dropping a week has done; `kept` is none, `week` the last. */
export type WeekStep = "kept" | "parts" | "rows" | "week";

/** Takes one step towards dropping a week; throws when its days are not counted, or when it would wait for a lock. */
export async function dropWeek(sql: SystemSql, week: Week, portion: number): Promise<WeekStep> {
  const [row] = await sql<{ step: WeekStep }>`select drop_week(${week.name}, ${portion}) as step`;
  return row?.step ?? "kept";
}
