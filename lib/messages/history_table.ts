import type { CallId, GroupId, MessageId, ProviderId, RecipientId } from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";
import { type MessageEntry, readMessages } from "./listing_table.ts";
import type { FailureCode, RecipientStatus, StorageRef } from "./message.ts";

/** One message with how it came. */
export interface MessageDetail extends MessageEntry {
  readonly smtpUtf8: boolean;
  readonly eightBit: boolean;
  readonly dsnReturn: "FULL" | "HDRS" | null;
  readonly envelopeId: string | null;
  readonly clientAddress: string | null;
  readonly helo: string | null;
  readonly tls: string | null;
  readonly correlationId: string;
}

/** What is known of one recipient. */
export interface RecipientEntry {
  readonly position: RecipientId;
  readonly address: string;
  readonly status: RecipientStatus;
  readonly failureCode: FailureCode | null;
  readonly attempts: number;
  /** For who is pending; null is due whenever the message is. */
  readonly nextAttemptAt: Date | null;
  readonly waitCause: string | null;
  readonly faultCode: string | null;
  readonly faultDetail: string | null;
  readonly callId: CallId | null;
  readonly updatedAt: Date | null;
}

/** One call to an ESP, or without a provider a body that could not be read. */
export interface CallEntry {
  readonly id: CallId;
  readonly providerId: ProviderId | null;
  readonly provider: string | null;
  readonly providerMessageId: string | null;
  readonly recipients: readonly RecipientId[];
  readonly status: "started" | "delivered" | "partial" | "failed" | "unknown";
  readonly attemptNumber: number;
  readonly responseCode: number | null;
  readonly responseBody: string | null;
  readonly espCode: string | null;
  readonly requestId: string | null;
  readonly lastError: string | null;
  readonly durationMs: number | null;
  /** The rule that named the provider, and its place in the route from 1; null where no rule did. */
  readonly routing: { readonly rule_id: string; readonly position: number } | null;
  readonly createdAt: Date;
  readonly updatedAt: Date | null;
}

/** What an ESP reported. */
export interface EventEntry {
  readonly id: string;
  readonly position: RecipientId | null;
  readonly callId: CallId | null;
  readonly providerId: ProviderId | null;
  readonly kind: string;
  readonly occurredAt: Date;
  readonly receivedAt: Date;
}

/** One of the group's messages; undefined when there is none of this id. */
export async function findMessage(
  sql: GroupSql,
  group: GroupId,
  id: MessageId,
): Promise<MessageDetail | undefined> {
  const [entry] = await readMessages(sql, group, [id]);
  if (entry === undefined) return undefined;
  const [rest] = await sql<Omit<MessageDetail, keyof MessageEntry>>`
    select smtp_utf8, eight_bit, dsn_return, envelope_id, host(client_address) as client_address, helo, tls, correlation_id
    from messages where id = ${id} and group_id = ${group}`;
  return rest && { ...entry, ...rest };
}

/** A message's recipients in the order of its envelope, from a position on. */
export async function listRecipients(
  sql: GroupSql,
  group: GroupId,
  message: MessageId,
  page: { readonly after: number; readonly limit: number },
): Promise<readonly RecipientEntry[]> {
  return await sql<RecipientEntry>`
    select position, address, status, failure_code, attempts, next_attempt_at, wait_cause, fault_code, fault_detail,
      call_id, updated_at
    from recipients where message_id = ${message} and group_id = ${group} and position > ${page.after}
    order by position limit ${page.limit}`;
}

/** The newest calls made for a message, newest first. */
export async function listCalls(
  sql: GroupSql,
  group: GroupId,
  message: MessageId,
  limit: number,
): Promise<readonly CallEntry[]> {
  return await sql<CallEntry>`
    select id, provider_id, provider, provider_message_id, recipients, status, attempt_number, response_code,
      response_body, esp_code, request_id, last_error, duration_ms, metadata -> 'routing' as routing, created_at, updated_at
    from delivery_logs where message_id = ${message} and group_id = ${group} order by id desc limit ${limit}`;
}

/** The newest reports about a message, newest first. */
export async function listEvents(
  sql: GroupSql,
  group: GroupId,
  message: MessageId,
  limit: number,
): Promise<readonly EventEntry[]> {
  return await sql<EventEntry>`
    select id, position, call_id, provider_id, kind, occurred_at, received_at
    from delivery_events where message_id = ${message} and group_id = ${group} order by id desc limit ${limit}`;
}

/** Where a message's bytes are. */
export interface StoredAt {
  readonly storageRef: StorageRef;
  readonly size: number;
  readonly bodyRemovedAt: Date | null;
  /** The bytes, when the reference is `inline`. */
  readonly body: Uint8Array | null;
}

/** Where the bytes of one of the group's messages are; undefined when there is no such message. */
export async function findStoredBody(
  sql: GroupSql,
  group: GroupId,
  id: MessageId,
): Promise<StoredAt | undefined> {
  const [row] = await sql<StoredAt>`
    select storage_ref, size, body_removed_at, body from messages where id = ${id} and group_id = ${group}`;
  return row;
}
