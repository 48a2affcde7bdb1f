import { firstIdAt, type GroupId, type ProviderId } from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";

/** What became of the messages of one day, by UTC, that went by one provider. */
export interface DayCount {
  /** When they were accepted, such as `2026-11-23`. */
  readonly day: string;
  /** Null for those that no provider was tried for. */
  readonly providerId: ProviderId | null;
  readonly messages: number;
  readonly recipients: number;
  readonly bytes: number;
  readonly delivered: number;
  /** Dead letters of either status. */
  readonly failed: number;
  readonly cancelled: number;
  /** Queued or being sent. */
  readonly unfinished: number;
  /** Given back to the client to come again. */
  readonly refused: number;
}

/** Counts by day and provider, newest day first, and whether only the newest messages were counted. */
export interface Statistics {
  readonly days: readonly DayCount[];
  readonly isCut: boolean;
}

/** Counts the group's messages accepted from one moment until before another, the newest `most` of them. */
export async function countMessages(
  sql: GroupSql,
  group: GroupId,
  since: Date,
  until: Date,
  most: number,
): Promise<Statistics> {
  const days = await sql<DayCount>`
    select (m.enqueued_at at time zone 'UTC')::date::text as day, m.provider_id, count(*)::float8 as messages,
      sum(m.recipient_count)::float8 as recipients, sum(m.size)::float8 as bytes,
      count(*) filter (where m.status = 'delivered')::float8 as delivered,
      count(*) filter (where m.status in ('failed', 'storage_error'))::float8 as failed,
      count(*) filter (where m.status = 'cancelled')::float8 as cancelled,
      count(*) filter (where m.status in ('queued', 'processing'))::float8 as unfinished,
      count(*) filter (where m.status = 'enqueue_failed')::float8 as refused
    from (
      select enqueued_at, provider_id, recipient_count, size, status from messages
      where group_id = ${group} and id >= ${firstIdAt(since.getTime())}::uuid and id < ${
    firstIdAt(until.getTime())
  }::uuid
      order by id desc limit ${most}
    ) m
    group by 1, 2 order by 1 desc, 2`;
  return { days, isCut: days.reduce((sum, { messages }) => sum + messages, 0) >= most };
}
