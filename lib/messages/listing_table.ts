import {
  firstId,
  firstIdAt,
  type GroupId,
  lastId,
  type MessageId,
  type ProviderId,
  type UserId,
} from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";
import type { FailureCode, MessageStatus } from "./message.ts";

/** A message as it is listed. */
export interface MessageEntry {
  readonly id: MessageId;
  readonly userId: UserId;
  readonly sender: string;
  readonly headerFrom: string | null;
  readonly subject: string | null;
  readonly rfcMessageId: string | null;
  /** The first five, in the order of the envelope. */
  readonly recipients: readonly string[];
  readonly recipientCount: number;
  readonly size: number;
  readonly status: MessageStatus;
  readonly failureCode: FailureCode | null;
  readonly providerId: ProviderId | null;
  readonly attempts: number;
  /** For what is queued only. */
  readonly nextAttemptAt: Date | null;
  readonly enqueuedAt: Date;
  readonly processedAt: Date | null;
  readonly bodyRemovedAt: Date | null;
}

/** Which messages; everything that is not given lets all pass. */
export interface MessageFilter {
  /** `dead` is both of a dead letter's: `failed` and `storage_error`. */
  readonly status?: MessageStatus | "dead" | undefined;
  readonly failure?: FailureCode | undefined;
  /** The envelope sender, whatever its case. */
  readonly sender?: string | undefined;
  /** One envelope recipient, whatever its case. */
  readonly recipient?: string | undefined;
  /** The whole subject, whatever its case; a part of it is found among the 300 newest messages of the span. */
  readonly subject?: string | undefined;
  /** With or without its brackets. */
  readonly rfcMessageId?: string | undefined;
  /** The provider that took it, or was tried last. */
  readonly provider?: string | undefined;
  /** Accepted at this moment or later. */
  readonly since?: Date | undefined;
  /** Accepted before this moment. */
  readonly until?: Date | undefined;
}

/** Some ids, newest first, and behind which one the list goes on; absent at its end. */
export interface FoundIds {
  readonly ids: readonly MessageId[];
  readonly next?: string;
}

/**
 * The ids of a group's messages, newest first. A page is full, unless none are left or 2,000 messages were looked at:
 * then it may even be empty and still go on.
 */
export async function findMessageIds(
  sql: GroupSql,
  filter: MessageFilter,
  page: { readonly after?: string; readonly limit: number },
): Promise<FoundIds> {
  const newest = filter.until === undefined ? lastId : firstIdAt(filter.until.getTime());
  const before = page.after === undefined || page.after > newest ? newest : page.after;
  const oldest = filter.since === undefined ? firstId : firstIdAt(filter.since.getTime());
  const rows = await sql<{ id: MessageId; isMatch: boolean }>`
    select id, is_match from find_messages(${before}::uuid, ${oldest}::uuid, ${newest}::uuid, ${page.limit}::int,
      ${filter.status ?? null}, ${filter.sender ?? null}, ${filter.recipient ?? null}, ${
    filter.subject ?? null
  },
      ${filter.rfcMessageId ?? null}, ${filter.provider ?? null}::uuid, ${filter.failure ?? null})`;
  const ids = rows.filter(({ isMatch }) => isMatch).map(({ id }) => id);
  const last = rows.at(-1);
  const goesOn = last !== undefined && (!last.isMatch || ids.length === page.limit);
  return { ids, ...(goesOn && { next: last.id }) };
}

/** A page of a group's messages, newest first; see `findMessageIds` for when it is not full. */
export async function listMessages(
  sql: GroupSql,
  group: GroupId,
  filter: MessageFilter,
  page: { readonly after?: string; readonly limit: number },
): Promise<{ readonly messages: readonly MessageEntry[]; readonly next?: string }> {
  const { ids, next } = await findMessageIds(sql, filter, page);
  const messages = await readMessages(sql, group, ids);
  return { messages, ...(next !== undefined && { next }) };
}

/** The group's messages of these ids, newest first; what is not the group's is missing. */
export async function readMessages(
  sql: GroupSql,
  group: GroupId,
  ids: readonly MessageId[],
): Promise<readonly MessageEntry[]> {
  const [newest, oldest] = [ids[0], ids.at(-1)];
  if (newest === undefined || oldest === undefined) return [];
  return await sql<MessageEntry>`
    select m.id, m.user_id, m.sender, m.header_from, m.subject, m.rfc_message_id, m.recipient_count, m.size, m.status,
      m.failure_code, m.provider_id, m.attempts, case m.status when 'queued' then m.next_attempt_at end as next_attempt_at,
      m.enqueued_at, m.processed_at, m.body_removed_at, array(
        select r.address from recipients r
        where r.message_id = m.id and r.group_id = ${group} and r.message_id between ${oldest} and ${newest}
          and r.position <= 5
        order by r.position) as recipients
    from messages m
    where m.id = any(${ids}::uuid[]) and m.id between ${oldest} and ${newest} and m.group_id = ${group}
    order by m.id desc`;
}
