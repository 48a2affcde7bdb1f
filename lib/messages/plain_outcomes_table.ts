import type { CallId, MessageId, ProviderId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import { spanOf } from "./id_span.ts";

/** A settlement as most are: one call took the message for all its recipients. */
export interface PlainSettlement {
  readonly message: MessageId;
  readonly claim: number;
  /** How many recipients the call was for. */
  readonly recipients: number;
  readonly call: {
    readonly id: CallId;
    readonly provider: ProviderId | null;
    readonly durationMs: number | null;
    readonly providerMessageId: string | null;
    readonly code: number | null;
    readonly excerpt: string | null;
    readonly espCode: string | null;
    readonly requestId: string | null;
  };
}

/**
 * Writes a batch of messages that were taken as a whole at the first attempt; answers those it was true for. Of any
 * other, also one whose claim is lost, nothing was written.
 */
export async function settlePlain(
  sql: SystemSql,
  items: readonly PlainSettlement[],
): Promise<ReadonlySet<MessageId>> {
  if (items.length === 0) return new Set();
  // In order of id, as everybody locks messages.
  const sorted = items.toSorted((a, b) => a.message < b.message ? -1 : 1);
  const calls = sorted.map((item) => item.call);
  const { ids, first, last } = spanOf(sorted.map((item) => item.message));
  const rows = await sql<{ readonly id: MessageId }>`
    with item as materialized (
      select * from unnest(${ids}::uuid[], ${sorted.map((item) => item.claim)}::bigint[],
        ${sorted.map((item) => item.recipients)}::integer[], ${calls.map((call) => call.id)}::uuid[],
        ${calls.map((call) => call.provider)}::uuid[], ${calls.map((call) => call.durationMs)}::integer[],
        ${calls.map((call) => call.providerMessageId)}::text[], ${calls.map((call) => call.code)}::integer[],
        ${calls.map((call) => call.excerpt)}::text[], ${calls.map((call) => call.espCode)}::text[],
        ${calls.map((call) => call.requestId)}::text[]) as item (id, claim, recipients, call_id, provider_id,
        duration_ms, provider_message_id, response_code, response_body, esp_code, request_id)
    ), taken as (
      update messages m set status = 'delivered', claim = null, claimed_by = null, claimed_until = null, claims = 0,
        provider_id = coalesce(i.provider_id, m.provider_id), attempts = 1, ring_after = null, rings = 0,
        processed_at = clock_timestamp()
      from item i
      where m.id = i.id and m.id = any(${ids}::uuid[]) and m.id between ${first}::uuid and ${last}::uuid
        and m.claim = i.claim and m.status = 'processing' and m.attempts = 0 and m.recipient_count = i.recipients
        -- What a service has reported of one already decides along.
        and not exists (select from recipients r where r.message_id = m.id and r.message_id = any(${ids}::uuid[])
          and r.message_id between ${first}::uuid and ${last}::uuid and r.status <> 'pending')
      returning m.id
    ), served as (
      update recipients r set status = 'accepted', failure_code = null, attempts = r.attempts + 1,
        next_attempt_at = null, wait_cause = null, fault_code = null, fault_detail = null, call_id = i.call_id,
        updated_at = clock_timestamp()
      from taken t join item i on i.id = t.id
      where r.message_id = t.id and r.message_id = any(${ids}::uuid[])
        and r.message_id between ${first}::uuid and ${last}::uuid and r.status = 'pending'
    ), logged as (
      update delivery_logs l set status = 'delivered', duration_ms = i.duration_ms,
        provider_message_id = i.provider_message_id, response_code = i.response_code,
        response_body = i.response_body, esp_code = i.esp_code, request_id = i.request_id, last_error = null,
        outcomes = null, updated_at = clock_timestamp(), delivered_at = clock_timestamp()
      from taken t join item i on i.id = t.id
      where l.message_id = t.id and l.message_id = any(${ids}::uuid[])
        and l.message_id between ${first}::uuid and ${last}::uuid and l.id = i.call_id
    )
    select id from taken`;
  return new Set(rows.map((row) => row.id));
}
