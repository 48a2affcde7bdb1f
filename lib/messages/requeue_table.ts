import type { GroupId, MessageId } from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";
import { portionsOf, spanOf } from "./id_span.ts";
import type { MessageStatus } from "./message.ts";

/**
 * Cancels a message that waits in the queue, for all its recipients who are still pending. False when it does not: it
 * is being sent at this moment, is finished, or is not the group's. A worker's claim and this exclude each other.
 */
export async function cancelMessage(sql: GroupSql, group: GroupId, id: MessageId): Promise<boolean> {
  const [row] = await sql<{ cancelled: number }>`
    with gone as (
      update messages set status = 'cancelled', failure_code = 'cancelled', processed_at = clock_timestamp()
      where id = ${id} and group_id = ${group} and case status when 'queued' then true else false end
      returning id
    ), addressed as (
      update recipients r set status = 'cancelled', failure_code = 'cancelled', next_attempt_at = null,
        updated_at = clock_timestamp()
      from gone where r.message_id = gone.id and r.message_id = ${id} and r.group_id = ${group} and r.status = 'pending'
    )
    select count(*)::int as cancelled from gone`;
  return row?.cancelled === 1;
}

/** The status of one of the group's messages, and whether its body is gone. */
export interface Standing {
  readonly id: MessageId;
  readonly status: MessageStatus;
  readonly isBodyGone: boolean;
}

/**
 * Locks the group's messages of these ids in order, until the transaction ends: neither a worker nor whoever removes
 * bodies changes them meanwhile. What is not the group's is missing.
 */
export async function lockMessages(
  sql: GroupSql,
  group: GroupId,
  ids: readonly MessageId[],
): Promise<readonly Standing[]> {
  const sorted = [...ids].sort();
  const [first, last] = [sorted[0], sorted.at(-1)];
  if (first === undefined || last === undefined) return [];
  return await sql<Standing>`
    select id, status, body_removed_at is not null as is_body_gone from messages
    where id = any(${sorted}::uuid[]) and id between ${first} and ${last} and group_id = ${group}
    order by id for update`;
}

/**
 * Puts dead letters back into the queue for those of their recipients whom no ESP accepted; each of them begins with no
 * attempt spent, and the message with a new time to live. Answers which: a message that is no dead letter of the
 * group's, has no body, or nobody left to serve is not among them. Nothing rings: the caller does, after the
 * transaction.
 */
export async function requeueMessages(
  sql: GroupSql,
  group: GroupId,
  ids: readonly MessageId[],
): Promise<readonly MessageId[]> {
  const requeued: MessageId[] = [];
  // In order of id, as everybody locks messages.
  for (const portion of portionsOf(ids.toSorted())) {
    requeued.push(...await requeueSome(sql, group, portion));
  }
  return requeued;
}

async function requeueSome(
  sql: GroupSql,
  group: GroupId,
  sorted: readonly MessageId[],
): Promise<readonly MessageId[]> {
  const { first, last } = spanOf(sorted);
  const rows = await sql<{ id: MessageId }>`
    with dead as materialized (
      select m.id from messages m
      where m.id = any(${sorted}::uuid[]) and m.id between ${first} and ${last} and m.group_id = ${group}
        and m.body_removed_at is null
        and case m.status when 'failed' then true when 'storage_error' then true else false end
      order by m.id for update
    ), addressed as (
      update recipients r set status = 'pending', failure_code = null, attempts = 0, next_attempt_at = null,
        wait_cause = null, updated_at = clock_timestamp()
      from dead
      where r.message_id = any(array_fill(dead.id, '{1}')) -- see spanOf()
        and r.message_id = any(${sorted}::uuid[]) and r.message_id between ${first} and ${last} and r.group_id = ${group}
        and r.status in ('pending', 'refused', 'failed', 'unknown')
      returning r.message_id
    )
    update messages m set status = 'queued', failure_code = null, claims = 0, rings = 0, ring_after = null,
      next_attempt_at = clock_timestamp(), requeued_at = clock_timestamp(), processed_at = null
    from (select distinct message_id from addressed) a
    where m.id = any(array_fill(a.message_id, '{1}')) and m.id = any(${sorted}::uuid[])
      and m.id between ${first} and ${last} and m.group_id = ${group}
    returning m.id`;
  return rows.map(({ id }) => id);
}

/** How many of these messages `requeueMessages` would put back now. */
export async function countRequeueable(
  sql: GroupSql,
  group: GroupId,
  ids: readonly MessageId[],
): Promise<number> {
  let count = 0;
  for (const portion of portionsOf(ids.toSorted())) count += await countSome(sql, group, portion);
  return count;
}

async function countSome(sql: GroupSql, group: GroupId, sorted: readonly MessageId[]): Promise<number> {
  const { first, last } = spanOf(sorted);
  const [row] = await sql<{ count: number }>`
    select count(*)::int as count from messages m
    where m.id = any(${sorted}::uuid[]) and m.id between ${first} and ${last} and m.group_id = ${group}
      and m.body_removed_at is null
      and case m.status when 'failed' then true when 'storage_error' then true else false end
      and exists (
        select from recipients r
        where r.message_id = m.id and r.message_id = any(${sorted}::uuid[])
          and r.message_id between ${first} and ${last} and r.group_id = ${group}
          and r.status in ('pending', 'refused', 'failed', 'unknown'))`;
  return row?.count ?? 0;
}
