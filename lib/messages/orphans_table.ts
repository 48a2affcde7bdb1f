import type { GroupId, MessageId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import { spanOf } from "./id_span.ts";

/** A message nobody works on although it should be worked on. */
export interface Orphan {
  readonly id: MessageId;
  readonly group: GroupId;
  /** Why it is rung: its doorbell is lost, or whoever claimed it is gone. */
  readonly reason: "doorbell_lost" | "claim_expired";
}

/**
 * Queued messages whose doorbell must be lost: due for more than `graceMs` before the entry at the head of their lane
 * was rung, or in a lane that has no entry (ruling 3.6). Each is marked, so that it comes again only after a gap that
 * doubles from `gapMs`. `lanes` are the heads of all lanes that have entries.
 */
export async function takeLostDoorbells(
  sql: SystemSql,
  lanes: readonly { readonly group: GroupId; readonly rungAt: Date }[],
  graceMs: number,
  gapMs: number,
  limit: number,
): Promise<readonly Orphan[]> {
  const heads = JSON.stringify(
    Object.fromEntries(lanes.map((lane) => [lane.group, lane.rungAt.toISOString()])),
  );
  const rows = await sql<{ id: MessageId; groupId: GroupId }>`
    with lane as materialized (
      select g.id as group_id, coalesce((head.at ->> g.id::text)::timestamptz, clock_timestamp())
        - make_interval(secs => ${graceMs} / 1000.0) as before
      from (select ${heads}::jsonb as at) head cross join groups g
    ), due as materialized (
      -- Lane by lane along the index: a backlog whose doorbells are in the queue is not gone through.
      select d.id from lane cross join lateral (
        select m.id, m.next_attempt_at from messages m
        where m.group_id = lane.group_id and m.status = 'queued' and m.next_attempt_at < lane.before
          and (m.ring_after is null or m.ring_after < clock_timestamp())
        order by m.next_attempt_at limit ${limit}
      ) d order by d.next_attempt_at limit ${limit}
    ), lost as materialized (
      select m.id from due join messages m on m.id = any(array_fill(due.id, '{1}')) -- see spanOf()
      -- No condition of its own: the index of all that is queued would be gone through for it.
      where case m.status when 'queued' then m.ring_after is null or m.ring_after < clock_timestamp() else false end
      for update of m skip locked
    )
    update messages m set rings = least(m.rings + 1, 20), ring_after = clock_timestamp()
      + make_interval(secs => ${gapMs} / 1000.0) * power(2, least(m.rings, 10))
    from lost where m.id = lost.id
    returning m.id, m.group_id`;
  return rows.map((row) => ({ id: row.id, group: row.groupId, reason: "doorbell_lost" }));
}

/** Messages whose claim has expired; the same marking keeps them from being rung each time. */
export async function takeExpiredClaims(
  sql: SystemSql,
  gapMs: number,
  limit: number,
): Promise<readonly Orphan[]> {
  const rows = await sql<{ id: MessageId; groupId: GroupId }>`
    with expired as materialized (
      select m.id from messages m
      where m.status = 'processing' and m.claimed_until < clock_timestamp()
        and (m.ring_after is null or m.ring_after < clock_timestamp())
      order by m.claimed_until limit ${limit}
      for update of m skip locked
    )
    update messages m set rings = least(m.rings + 1, 20), ring_after = clock_timestamp()
      + make_interval(secs => ${gapMs} / 1000.0) * power(2, least(m.rings, 10))
    from expired where m.id = expired.id
    returning m.id, m.group_id`;
  return rows.map((row) => ({ id: row.id, group: row.groupId, reason: "claim_expired" }));
}

/** Takes back the marks of doorbells that could not be rung: these messages are found again as if nobody had tried. */
export async function takeBackRings(sql: SystemSql, ids: readonly MessageId[]): Promise<void> {
  if (ids.length === 0) return;
  const { first, last } = spanOf(ids);
  await sql`
    with rung as materialized (
      select id from messages
      where id = any(${ids}::uuid[]) and id between ${first}::uuid and ${last}::uuid and ring_after is not null
      for update skip locked
    )
    update messages m set ring_after = null, rings = greatest(m.rings - 1, 0)
    from rung where m.id = rung.id and m.id between ${first}::uuid and ${last}::uuid`;
}

/**
 * Forgets when messages were rung that nobody works on: their doorbells may have been lost again, with the worker or
 * the queue that had them, and they must not wait for their gap to end.
 */
export async function forgetRings(sql: SystemSql): Promise<void> {
  await sql`
    with rung as materialized (
      select id from messages where status = 'processing' and ring_after is not null
      union all select id from messages where status = 'queued' and ring_after is not null
    ), free as materialized (
      select m.id from rung r join messages m on m.id = any(array_fill(r.id, '{1}')) -- see spanOf()
      where m.ring_after is not null for update of m skip locked
    )
    update messages m set ring_after = null, rings = 0 from free where m.id = free.id`;
}

/** An unfinished message, for ringing everything again after a queue lost its contents. */
export interface Unfinished {
  readonly id: MessageId;
  readonly group: GroupId;
  /** How long until it is due, zero when it is. */
  readonly delayMs: number;
}

/** A place in the walk over unfinished messages. */
export interface WalkPosition {
  readonly dueAt: string;
  readonly id: string;
}

/** A page of unfinished messages, those due first coming first, and where the next page begins. */
export async function listUnfinished(
  sql: SystemSql,
  after: WalkPosition | undefined,
  limit: number,
): Promise<{ readonly messages: readonly Unfinished[]; readonly next?: WalkPosition }> {
  const dueAt = after?.dueAt ?? "-infinity";
  const id = after?.id ?? "00000000-0000-0000-0000-000000000000";
  const rows = await sql<{ id: MessageId; groupId: GroupId; dueAt: string; delayMs: number }>`
    select id, group_id, next_attempt_at::text as due_at,
      greatest(0, 1000 * extract(epoch from next_attempt_at - clock_timestamp()))::float8 as delay_ms
    from messages where status = 'queued' and (next_attempt_at, id) > (${dueAt}::timestamptz, ${id}::uuid)
    order by next_attempt_at, id limit ${limit}`;
  const last = rows.at(-1);
  return {
    messages: rows.map((row) => ({ id: row.id, group: row.groupId, delayMs: row.delayMs })),
    ...(last && rows.length === limit && { next: { dueAt: last.dueAt, id: last.id } }),
  };
}

/** The queue's epoch as it was last recorded; undefined before the first. */
export async function readEpoch(sql: SystemSql): Promise<string | undefined> {
  const [row] = await sql<{ epoch: string }>`select epoch from queue_state`;
  return row?.epoch;
}

/** Records the epoch after everything unfinished was rung. */
export async function recordEpoch(sql: SystemSql, epoch: string): Promise<void> {
  await sql`insert into queue_state (epoch) values (${epoch}) on conflict (only_row) do update set epoch = excluded.epoch`;
}

/** How many messages there are of an unfinished kind, and how old the oldest is, for metrics. */
export interface StateCount {
  readonly status: "queued" | "processing";
  readonly count: number;
  readonly oldestSeconds: number;
}

/** Counts dead letters, whose status is `failed` or `storage_error`, along their index; stops at 100,000. */
export async function countDead(sql: SystemSql): Promise<number> {
  const [row] = await sql<{ count: number }>`
    select count(*)::float8 as count
    from (select from messages where status in ('failed', 'storage_error') limit 100000) dead`;
  return row?.count ?? 0;
}

/** Counts unfinished messages; the counts stop at 100,000 for each status. */
export async function countUnfinished(sql: SystemSql): Promise<readonly StateCount[]> {
  return await sql<StateCount>`
    select 'queued' as status, count(*)::float8 as count,
      coalesce(extract(epoch from clock_timestamp() - min(enqueued_at)), 0)::float8 as oldest_seconds
    from (select enqueued_at from messages where status = 'queued' order by next_attempt_at limit 100000) q
    union all
    select 'processing', count(*)::float8,
      coalesce(extract(epoch from clock_timestamp() - min(enqueued_at)), 0)::float8
    from (select enqueued_at from messages where status = 'processing' limit 100000) p`;
}

/** Unfinished messages by group, counted up to 100,000 in all. */
export async function countByGroup(sql: SystemSql): Promise<ReadonlyMap<GroupId, number>> {
  const rows = await sql<{ groupId: GroupId; count: number }>`
    select group_id, count(*)::float8 as count from (
      (select group_id from messages where status = 'queued' limit 100000)
      union all (select group_id from messages where status = 'processing' limit 100000)) m
    group by group_id`;
  return new Map(rows.map((row) => [row.groupId, row.count]));
}
