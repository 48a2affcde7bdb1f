import type { GroupId, MessageId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { LaneCursor, LaneNews } from "./lane_cursors.ts";
import type { Doorbell, LaneHead } from "./queue.ts";

/** What a push did to one lane. */
export interface PushedLane {
  readonly group: GroupId;
  /** Of the newest entry pushed. */
  readonly lastId: number;
  /** Whether an entry pushed before is still there. */
  readonly waited: boolean;
}

/** Adds entries in the order given; `known` names the last entry pushed before to each lane, as far as remembered. */
export function pushEntries(
  sql: SystemSql,
  bells: readonly Doorbell[],
  known: readonly LaneCursor[],
): Promise<readonly PushedLane[]> {
  return sql<PushedLane>`
    with rung as (
      insert into queue_entries (group_id, message)
      select b.group_id, b.message
      from unnest(${groupsOf(bells)}::uuid[], ${messagesOf(bells)}::uuid[]) as b (group_id, message)
      returning id, group_id
    )
    select r.group_id as "group", max(r.id) as last_id, exists (
      select from queue_entries e where e.group_id = r.group_id and e.id >= k.id
    ) as waited
    from rung r
    left join unnest(${groupsOf(known)}::uuid[], ${
    known.map(({ from }) => from)
  }::bigint[]) as k (group_id, id)
      on k.group_id = r.group_id
    group by r.group_id, k.id`;
}

/** Adds entries that become due after a delay, by the database's clock; a message has one, which is due at the soonest. */
export async function pushDelayed(
  sql: SystemSql,
  bells: readonly Doorbell[],
  delayMs: number,
): Promise<void> {
  await sql`
    insert into queue_delayed as d (group_id, message, due_at)
    select distinct on (b.message) b.group_id, b.message,
      clock_timestamp() + ${delayMs}::float8 * interval '1 millisecond'
    from unnest(${groupsOf(bells)}::uuid[], ${messagesOf(bells)}::uuid[]) as b (group_id, message)
    order by b.message
    on conflict (message) do update set due_at = excluded.due_at where excluded.due_at < d.due_at`;
}

/** An entry that is the taker's alone from now on. */
export interface TakenEntry extends Doorbell {
  readonly id: number;
}

/** What was taken, and what was seen behind `newsAfter` and left where it is. */
export interface Taken {
  readonly entries: readonly TakenEntry[];
  readonly news: readonly LaneNews[];
  /** More lies behind `newsAfter` than was looked at. */
  readonly isMore: boolean;
}

const newsAtOnce = 50_000;

/** Takes up to `share` entries of each lane and `max` in all, and looks for news, in one round trip. */
export async function takeEntries(
  sql: SystemSql,
  lanes: readonly LaneCursor[],
  share: number,
  max: number,
  newsAfter: number,
): Promise<Taken> {
  const rows = await sql<Row>`
    with heads as materialized (
      select e.id
      from unnest(${groupsOf(lanes)}::uuid[], ${
    lanes.map(({ from }) => from)
  }::bigint[]) as w (group_id, from_id)
      cross join lateral (
        select q.id from queue_entries q where q.group_id = w.group_id and q.id >= w.from_id
        order by q.id limit ${share}::int for update skip locked
      ) e
      limit ${max}::int
    ), taken as (
      delete from queue_entries q using heads h where q.id = h.id returning q.id, q.group_id, q.message
    ), news as (
      select n.group_id, min(n.id) as first_id, max(n.id) as last_id, count(*) as entries
      from (
        select q.id, q.group_id from queue_entries q where q.id > ${newsAfter}::bigint order by q.id
        limit ${newsAtOnce}::int
      ) n
      where n.id not in (select id from heads)
      group by n.group_id
    )
    select id, group_id as "group", message, null::bigint as last_id, 0 as entries from taken
    union all select first_id, group_id, null, last_id, entries from news
    order by id`;
  const news = rows.filter(({ lastId }) => lastId !== null);
  return {
    entries: rows.filter(({ message }) => message !== null) as readonly TakenEntry[],
    news: news.map(({ group, id, lastId }) => ({ group, firstId: id, lastId: lastId ?? id })),
    isMore: news.reduce((sum, { entries }) => sum + entries, 0) + max >= newsAtOnce,
  };
}

interface Row {
  readonly id: number;
  readonly group: GroupId;
  readonly message: MessageId | null;
  readonly lastId: number | null;
  readonly entries: number;
}

/** The head of every lane, read from the start of the table, and the newest id given out before that. */
export async function scanHeads(
  sql: SystemSql,
): Promise<
  { readonly heads: readonly (LaneHead & { readonly firstId: number })[]; readonly newestId: number }
> {
  const [newest] = await sql<{ readonly id: number }>`
    select case when is_called then last_value else 0 end as id from queue_entries_id_seq`;
  const heads = await sql<LaneHead & { readonly firstId: number }>`
    with recursive heads as (
      (select group_id, id, rung_at from queue_entries order by group_id, id limit 1)
      union all
      select n.group_id, n.id, n.rung_at
      from heads h
      cross join lateral (
        select q.group_id, q.id, q.rung_at from queue_entries q where q.group_id > h.group_id
        order by q.group_id, q.id limit 1
      ) n
    )
    select group_id as "group", id as first_id, rung_at from heads`;
  return { heads, newestId: newest?.id ?? 0 };
}

/** What became of moving the entries that are due. */
export interface Moved {
  readonly count: number;
  /** Until the next delayed entry is due; null when there is none. */
  readonly nextMs: number | null;
  /** The database's time in seconds since 1970. */
  readonly at: number;
}

/** Moves up to `max` entries that have become due since a moment of the database's clock, the longest due first. */
export async function moveDue(sql: SystemSql, max: number, since: number): Promise<Moved> {
  const [moved] = await sql<Moved>`
    with due as materialized (
      select message from queue_delayed
      where due_at >= to_timestamp(${since}::float8) and due_at <= clock_timestamp()
      order by due_at limit ${max}::int for update skip locked
    ), moved as (
      delete from queue_delayed d using due where d.message = due.message returning d.group_id, d.message, d.due_at
    ), rung as (
      insert into queue_entries (group_id, message)
      select group_id, message from moved order by due_at, message returning id
    )
    select (select count(*) from rung) as count, extract(epoch from clock_timestamp())::float8 as at, (
      select greatest(0, extract(epoch from due_at - clock_timestamp()) * 1000)::float8
      from queue_delayed where due_at > clock_timestamp() order by due_at limit 1
    ) as next_ms`;
  return moved ?? { count: 0, nextMs: null, at: since };
}

/** Counts both tables from an id on, up to a number. */
export async function countEntries(
  sql: SystemSql,
  lowest: number,
  max: number,
): Promise<{ readonly due: number; readonly delayed: number }> {
  const [counts] = await sql<{ readonly due: number; readonly delayed: number }>`
    select (
      select count(*) from (select from queue_entries where id >= ${lowest}::bigint limit ${max}::int) d
    ) as due, (
      select count(*) from (select from queue_delayed limit ${max}::int) d
    ) as delayed`;
  return counts ?? { due: 0, delayed: 0 };
}

/** The epoch that stands. */
export async function readEpoch(sql: SystemSql): Promise<string | undefined> {
  const [row] = await sql<{ readonly epoch: string }>`select epoch from queue_epoch`;
  return row?.epoch;
}

/** Sets the epoch unless one stands. */
export async function insertEpoch(sql: SystemSql, epoch: string): Promise<void> {
  await sql`insert into queue_epoch (epoch) values (${epoch}) on conflict do nothing`;
}

/** Wakes the workers that wait. */
export async function notifyWaiting(sql: SystemSql, channel: string): Promise<void> {
  await sql`select pg_notify(${channel}, '')`;
}

/** Asks for nothing, to see whether there is an answer. */
export async function askNothing(sql: SystemSql): Promise<void> {
  await sql`select 1 as one`;
}

function groupsOf(of: readonly { readonly group: GroupId }[]): readonly GroupId[] {
  return of.map(({ group }) => group);
}

function messagesOf(bells: readonly Doorbell[]): readonly MessageId[] {
  return bells.map(({ message }) => message);
}
