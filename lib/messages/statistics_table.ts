import { firstIdAt, type GroupId, type ProviderId } from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";

/** How many recipients have which status; who is in none of them is pending. */
export interface RecipientCounts {
  readonly accepted: number;
  readonly delivered: number;
  readonly deferred: number;
  readonly bounced: number;
  readonly complained: number;
  readonly refused: number;
  readonly suppressed: number;
  readonly failed: number;
  readonly unknown: number;
  readonly cancelled: number;
}

/** What became of the messages of one day, by UTC, that went by one provider. */
export interface DayCount {
  /** When they were accepted, by their ids, such as `2026-11-23`. */
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
  /** Absent when they were not asked for. */
  readonly recipientStatuses?: RecipientCounts;
}

/** Counts by day and provider, newest day first, and whether only the newest messages were counted. */
export interface Statistics {
  readonly days: readonly DayCount[];
  readonly isCut: boolean;
}

/** How much is counted. */
export interface CountOptions {
  /** Rows of messages, the newest. */
  readonly most: number;
  /** Also the statuses of recipients, which takes four times as long. */
  readonly withRecipients?: boolean;
}

/**
 * Counts the group's messages of some days, by UTC: from their rows, the newest of them, and from what was
 * counted of weeks before they were dropped. A week is counted whole or not at all, so no message counts twice.
 */
export async function countMessages(
  sql: GroupSql,
  group: GroupId,
  since: Date,
  until: Date,
  { most, withRecipients = false }: CountOptions,
): Promise<Statistics> {
  const [from, to] = [since, until].map((day) => firstIdAt(day.getTime()));
  const rows = await sql<Omit<DayCount, "recipientStatuses"> & Counted>`
    with counted as materialized (
      select w.week, w.starts, w.ends from usage_weeks w
      where w.ends > ${from}::uuid and w.starts < ${to}::uuid and w.counted_at is not null
    ), mail as materialized (
      select m.id, day_of_message(m.id, m.enqueued_at) as day, m.provider_id, m.recipient_count, m.size, m.status
      from messages m
      where m.group_id = ${group} and m.id >= ${from}::uuid and m.id < ${to}::uuid
        and not exists (select from counted c where m.id >= c.starts and m.id < c.ends)
      order by m.id desc limit ${most}
    ), entry as (
      select m.day, m.provider_id, count(*) as from_rows, count(*) as messages, sum(m.recipient_count) as recipients,
        sum(m.size) as bytes, count(*) filter (where m.status = 'delivered') as delivered,
        count(*) filter (where m.status in ('failed', 'storage_error')) as failed,
        count(*) filter (where m.status = 'cancelled') as cancelled,
        count(*) filter (where m.status in ('queued', 'processing')) as unfinished,
        count(*) filter (where m.status = 'enqueue_failed') as refused, sum(o.accepted) as to_accepted,
        sum(o.delivered) as to_delivered, sum(o.deferred) as to_deferred, sum(o.bounced) as to_bounced,
        sum(o.complained) as to_complained, sum(o.refused) as to_refused, sum(o.suppressed) as to_suppressed,
        sum(o.failed) as to_failed, sum(o.unknown) as to_unknown, sum(o.cancelled) as to_cancelled
      from mail m left join lateral count_recipients(m.id) o on ${withRecipients} group by m.day, m.provider_id
      union all
      select d.day, d.provider_id, 0, d.messages, d.recipients, d.bytes, d.delivered, d.failed, d.cancelled, 0,
        d.enqueue_failed, d.to_accepted, d.to_delivered, d.to_deferred, d.to_bounced, d.to_complained, d.to_refused,
        d.to_suppressed, d.to_failed, d.to_unknown, d.to_cancelled
      from usage_daily d
      where d.group_id = ${group} and d.day >= ${since}::timestamptz::date and d.day < ${until}::timestamptz::date
        and exists (select from counted c where c.week = d.week)
    )
    select day::text, provider_id, sum(from_rows)::float8 as from_rows, sum(messages)::float8 as messages,
      sum(recipients)::float8 as recipients, sum(bytes)::float8 as bytes, sum(delivered)::float8 as delivered,
      sum(failed)::float8 as failed, sum(cancelled)::float8 as cancelled, sum(unfinished)::float8 as unfinished,
      sum(refused)::float8 as refused, case when ${withRecipients} then jsonb_build_object(
        'accepted', sum(to_accepted), 'delivered', sum(to_delivered), 'deferred', sum(to_deferred),
        'bounced', sum(to_bounced), 'complained', sum(to_complained), 'refused', sum(to_refused),
        'suppressed', sum(to_suppressed), 'failed', sum(to_failed), 'unknown', sum(to_unknown),
        'cancelled', sum(to_cancelled)) end as recipient_statuses
    from entry group by entry.day, provider_id order by entry.day desc, provider_id`;
  const isCut = rows.reduce((sum, { fromRows }) => sum + fromRows, 0) >= most;
  const days = rows.map(({ fromRows: _, recipientStatuses, ...day }) => ({
    ...day,
    ...recipientStatuses && { recipientStatuses },
  }));
  return { days, isCut };
}

interface Counted {
  readonly fromRows: number;
  readonly recipientStatuses: RecipientCounts | null;
}
