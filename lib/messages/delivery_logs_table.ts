import type { CallId, GroupId, MessageId, ProviderId, RecipientId, UserId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import { spanOf } from "./id_span.ts";

/** A call that is about to be made. */
export interface CallStart {
  readonly call: CallId;
  readonly message: MessageId;
  readonly group: GroupId;
  readonly user: UserId;
  readonly claim: number;
  readonly provider?: ProviderId;
  readonly providerType: string;
  readonly recipients: readonly RecipientId[];
  /** From 1. */
  readonly attempt: number;
  /** The call may take this long; it must not begin with less of the claim left. */
  readonly limitMs: number;
  /** The routing rule that led to the call, and the provider's place from 1 in the route; absent where none did. */
  readonly decision?: { readonly rule: string; readonly position: number };
}

/**
 * Writes down a batch of calls before they are made (ruling 3.12); answers those that may begin. Any other belongs to
 * a claim that is lost, or whose lease ends too soon.
 */
export async function startCalls(sql: SystemSql, calls: readonly CallStart[]): Promise<ReadonlySet<CallId>> {
  const text = JSON.stringify(calls.map((call) => ({
    id: call.call,
    message_id: call.message,
    group_id: call.group,
    user_id: call.user,
    claim: call.claim,
    provider_id: call.provider ?? null,
    provider: call.providerType,
    recipients: call.recipients,
    attempt_number: call.attempt,
    limit_ms: call.limitMs,
    // {"routing": {"rule_id": "…", "position": 1}}
    metadata: call.decision && { routing: { rule_id: call.decision.rule, position: call.decision.position } },
  })));
  if (calls.length === 0) return new Set();
  const ids = calls.map((call) => call.message);
  const { first, last } = spanOf(ids);
  const rows = await sql<{ id: CallId }>`
    insert into delivery_logs (id, message_id, group_id, user_id, claim, provider_id, provider, recipients, status,
      attempt_number, metadata)
    select c.id, c.message_id, c.group_id, c.user_id, c.claim, c.provider_id, c.provider, c.recipients, 'started',
      c.attempt_number, c.metadata
    from jsonb_to_recordset(${text}::jsonb) as c (id uuid, message_id uuid, group_id uuid, user_id uuid, claim bigint,
        provider_id uuid, provider text, recipients smallint[], attempt_number smallint, metadata jsonb, limit_ms float8)
      join messages m on m.id = c.message_id and m.id = any(${ids}::uuid[]) and m.id between ${first}::uuid and ${last}::uuid and m.claim = c.claim
        and m.status = 'processing'
        and m.claimed_until > clock_timestamp() + make_interval(secs => c.limit_ms / 1000.0)
    -- The same call again: the answer to the first try was lost on the way.
    on conflict (message_id, id) do update set claim = excluded.claim
    returning id`;
  return new Set(rows.map((row) => row.id));
}
