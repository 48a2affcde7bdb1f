import type { CallId, MessageId, ProviderId, RecipientId } from "../ids.ts";
import { newId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { EspAnswer } from "../esp/outcome.ts";
import { storable } from "../storable.ts";
import { spanOf } from "./id_span.ts";
import type { FailureCode, MessageStatus } from "./message.ts";
import type { PlainSettlement } from "./plain_outcomes_table.ts";

/** What becomes of one recipient. */
export interface RecipientChange {
  readonly recipient: RecipientId;
  readonly status: "accepted" | "refused" | "unknown" | "failed" | "pending" | "suppressed";
  /** For `refused`, `unknown` and `failed`. */
  readonly failure?: FailureCode;
  /** For `pending`: due again after this long. */
  readonly delayMs?: number;
  readonly attemptSpent: boolean;
  /** For `pending` without an attempt: what it is put off for. */
  readonly waitCause?: string;
  /** Why, when it was not simply accepted. */
  readonly fault?: { readonly code: string; readonly detail: string };
  /** The outcome's kind, for the call's log. */
  readonly kind?: string;
}

/** How a call ended. */
export interface CallEnd {
  readonly call: CallId;
  readonly status: "delivered" | "partial" | "failed" | "unknown";
  readonly provider?: ProviderId;
  readonly durationMs?: number;
  readonly providerMessageId?: string;
  readonly answer?: EspAnswer;
  readonly error?: string;
}

/** One step of a claimed message that is to be written down. */
export interface Settlement {
  readonly message: MessageId;
  readonly claim: number;
  readonly calls: readonly CallEnd[];
  readonly changes: readonly RecipientChange[];
  /**
   * `go on`: the claim stays. `conclude`: the message's status follows from its recipients and the claim ends well.
   * `release`: back to the queue as it was. `storage_error`: its body cannot be read any more.
   */
  readonly then: "go on" | "conclude" | "release" | "storage_error";
  /** The calls are those of an earlier claim that was dropped, which goes on counting as one. */
  readonly ofDroppedClaim?: boolean;
  /** For `release`: not due again before this long; as it was when absent. */
  readonly delayMs?: number;
  /** For `storage_error`: what its log row says (ruling 1.21). */
  readonly error?: string;
}

/** What a settled message has become. */
export interface Settled {
  readonly status: MessageStatus;
  readonly failureCode?: FailureCode;
  /** Due again after this long, when it is queued. */
  readonly delayMs: number;
}

interface SettledRow {
  readonly id: MessageId;
  readonly claim: number;
  readonly status: MessageStatus;
  readonly failureCode: FailureCode | null;
  readonly delayMs: number;
}

/**
 * Writes a batch of settlements; for each what its message has become, or undefined when its claim is lost, in which
 * case nothing of it was written.
 */
export async function settleAll(
  sql: SystemSql,
  items: readonly Settlement[],
): Promise<readonly (Settled | undefined)[]> {
  const rows = items.length === 0 ? [] : await write(sql, items);
  const byClaim = new Map(rows.map((row) => [row.claim, row]));
  return items.map((item) => settledOf(byClaim.get(item.claim)));
}

/** The settlement as `settlePlain` writes it, where that may be true: most need no look at what else is known. */
export function plainOf(
  { message, claim, calls, changes, then, ofDroppedClaim }: Settlement,
): PlainSettlement | undefined {
  const [call, more] = calls;
  if (call === undefined || more !== undefined || then !== "conclude" || ofDroppedClaim) return undefined;
  if (call.status !== "delivered") return undefined;
  if (!changes.every(({ status, attemptSpent }) => status === "accepted" && attemptSpent)) return undefined;
  const row = callRow(call);
  return {
    message,
    claim,
    recipients: changes.length,
    call: {
      id: call.call,
      provider: row.provider_id,
      durationMs: row.duration_ms,
      providerMessageId: row.provider_message_id,
      code: row.response_code,
      excerpt: row.response_body,
      espCode: row.esp_code,
      requestId: row.request_id,
    },
  };
}

function settledOf(row: SettledRow | undefined): Settled | undefined {
  if (row === undefined) return undefined;
  return {
    status: row.status,
    delayMs: Math.max(0, row.delayMs),
    ...(row.failureCode !== null && { failureCode: row.failureCode }),
  };
}

function stored(text: string | undefined, longest: number): string | null {
  return text === undefined ? null : storable(text, longest);
}

function callRow(end: CallEnd) {
  return {
    id: end.call,
    provider_id: end.provider ?? null,
    status: end.status,
    duration_ms: end.durationMs === undefined ? null : Math.round(end.durationMs),
    provider_message_id: stored(end.providerMessageId, 255),
    response_code: end.answer?.code ?? null,
    response_body: stored(end.answer?.excerpt, 2000),
    esp_code: stored(end.answer?.espCode, 100),
    request_id: stored(end.answer?.requestId, 255),
    last_error: stored(end.error, 600),
  };
}

function changeRow(change: RecipientChange) {
  return {
    status: change.status,
    failure: change.failure ?? null,
    delay_ms: change.delayMs ?? null,
    spent: change.attemptSpent ? 1 : 0,
    cause: change.waitCause ?? null,
    kind: change.kind ?? change.status,
    code: stored(change.fault?.code, 64),
    detail: stored(change.fault?.detail, 600),
  };
}

/** The changes of each item by the position of their recipient: a look into it costs the same however many there are. */
function changesOf(items: readonly Settlement[]): string {
  const byPosition = items.map(({ changes }) =>
    Object.fromEntries(changes.map((change) => [change.recipient, changeRow(change)]))
  );
  return JSON.stringify(byPosition);
}

function itemRow(item: Settlement, n: number) {
  return {
    n,
    id: item.message,
    claim: item.claim,
    then: item.then,
    dropped: item.ofDroppedClaim ?? false,
    delay_ms: item.delayMs ?? null,
    calls: item.calls.map(callRow),
    log_id: item.then === "storage_error" ? newId<CallId>() : null,
    error: stored(item.error, 600),
    positions: item.changes.map(({ recipient }) => recipient),
  };
}

/**
 * Rows are locked in order of id, so that two processes never wait for each other crosswise. What a message becomes
 * follows from all its recipients (ruling 1.13) as this very statement leaves them. Joined by arrays: see `spanOf`. A
 * change is looked up for its recipient and not joined to it, which took the square of their number.
 */
function write(sql: SystemSql, items: readonly Settlement[]): Promise<readonly SettledRow[]> {
  const { ids, first, last } = spanOf(items.map((item) => item.message));
  const changes = changesOf(items);
  return sql<SettledRow>`
    with item as materialized (
      -- One moment for a message and all its recipients, or it would be due before the last of many.
      select item.*, m.group_id, m.user_id, clock_timestamp() as moment, exists (
          -- Written before, and only the answer was lost: attempts must not be spent twice.
          select from delivery_logs l
          where l.message_id = any(array_fill(item.id, '{1}')) and l.message_id between ${first}::uuid and ${last}::uuid
            and l.id = (item.calls -> 0 ->> 'id')::uuid and l.status <> 'started') as is_written
      from jsonb_to_recordset(${
    JSON.stringify(items.map(itemRow))
  }::jsonb) as item (n integer, id uuid, claim bigint,
          "then" text, dropped boolean, delay_ms float8, calls jsonb, positions smallint[], log_id uuid, error text)
        join messages m on m.id = any(array_fill(item.id, '{1}')) and m.id = any(${ids}::uuid[])
          and m.id between ${first}::uuid and ${last}::uuid and m.claim = item.claim and m.status = 'processing'
      order by m.id for update of m
    ), logged as (
      update delivery_logs l set status = c.status, duration_ms = c.duration_ms,
        provider_message_id = c.provider_message_id, response_code = c.response_code, response_body = c.response_body,
        esp_code = c.esp_code, request_id = c.request_id, last_error = c.last_error, updated_at = clock_timestamp(),
        delivered_at = case when c.status in ('delivered', 'partial') then clock_timestamp() end,
        outcomes = (select jsonb_object_agg(o.p, jsonb_build_object('kind', o.c -> 'kind', 'code', o.c -> 'code'))
          from (select p, ${changes}::jsonb #> array[item.n::text, p::text] as c from unnest(l.recipients) p) o
          where o.c ->> 'kind' <> 'accepted')
      from item cross join lateral jsonb_to_recordset(item.calls) as c (id uuid, status text, duration_ms integer,
        provider_message_id text, response_code integer, response_body text, esp_code text, request_id text,
        last_error text)
      where l.message_id = any(array_fill(item.id, '{1}')) and l.message_id = any(${ids}::uuid[])
        and l.message_id between ${first}::uuid and ${last}::uuid and l.id = c.id and not item.is_written
    ), unreadable as (
      insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status, last_error)
      select log_id, id, group_id, user_id, claim, '{}', 'failed', error from item where log_id is not null
    ), served as (
      update recipients r set (status, failure_code, attempts, next_attempt_at, wait_cause, fault_code, fault_detail,
          call_id, updated_at) = (
        select c.status, c.failure, r.attempts + c.spent, item.moment + make_interval(secs => c.delay_ms / 1000.0),
          c.cause, c.code, c.detail, coalesce((item.calls -> 0 ->> 'id')::uuid, r.call_id), item.moment
        from jsonb_to_record(${changes}::jsonb #> array[item.n::text, r.position::text]) as c (status text,
          failure text, delay_ms float8, spent smallint, cause text, code text, detail text))
      from item
      where r.message_id = any(array_fill(item.id, '{1}')) and r.message_id = any(${ids}::uuid[])
        and r.message_id between ${first}::uuid and ${last}::uuid and r.position = any(item.positions)
        and r.status = 'pending' and not item.is_written
    ), known as materialized (
      -- Locked, and so as they are now: a service may have reported since this statement began, and whoever reports
      -- from now on finds what the message has become. While the claim goes on nothing follows from them.
      select r.message_id, r.status, r.attempts, r.failure_code, r.next_attempt_at, item.moment,
        case when not item.is_written then ${changes}::jsonb #> array[item.n::text, r.position::text] end as change
      from item join recipients r on r.message_id = any(array_fill(item.id, '{1}'))
      where item.then in ('conclude', 'release') and r.message_id = any(${ids}::uuid[])
        and r.message_id between ${first}::uuid and ${last}::uuid
      for no key update of r
    ), after as materialized (
      select a.message_id, count(*) filter (where a.status = 'pending') as pending,
        count(*) filter (where a.status in ('refused', 'failed', 'unknown', 'bounced')) as bad,
        count(*) filter (where a.status <> 'cancelled') as good,
        max(a.attempts) as spent,
        min(coalesce(a.due, clock_timestamp())) filter (where a.status = 'pending') as due,
        -- What an operator can act on first.
        (array_agg(a.failure order by array_position(
          array['unknown', 'crashed', 'expired', 'exhausted', 'refused'], a.failure))
          filter (where a.failure is not null))[1] as worst
      from (
        -- This statement's own writes are not visible to it, so they are laid over what was.
        select k.message_id, coalesce(k.new ->> 'status', k.status) as status,
          k.attempts + coalesce((k.new ->> 'spent')::smallint, 0) as attempts,
          case when k.new is null then k.failure_code else k.new ->> 'failure' end as failure,
          case when k.new is null then k.next_attempt_at
            else k.moment + make_interval(secs => (k.new ->> 'delay_ms')::float8 / 1000.0) end as due
        from (select *, case status when 'pending' then change end as new from known) k
      ) a group by a.message_id
    ), whole as materialized (
      select item.*, s.spent, s.due, s.worst, case
          when item.then = 'go on' then 'processing'
          when item.then = 'storage_error' then 'storage_error'
          when s.pending > 0 then 'queued'
          when s.bad > 0 then 'failed'
          when s.good = 0 then 'cancelled'
          else 'delivered' end as new_status
      from item left join after s on s.message_id = item.id
    )
    update messages m set status = w.new_status,
      failure_code = case when w.new_status = 'failed' then coalesce(w.worst, 'refused') end,
      claimed_until = case when w.new_status = 'processing' then m.claimed_until end,
      claimed_by = case when w.new_status = 'processing' then m.claimed_by end,
      claim = case when w.new_status = 'processing' then m.claim end,
      claims = case when w.then = 'conclude' then 0 when jsonb_array_length(w.calls) > 0 and not w.dropped then 1 else m.claims end,
      provider_id = coalesce((w.calls -> -1 ->> 'provider_id')::uuid, m.provider_id),
      attempts = greatest(m.attempts, w.spent),
      next_attempt_at = case when w.then = 'conclude' and w.due is not null then w.due
        when w.delay_ms is not null then w.moment + make_interval(secs => w.delay_ms / 1000.0)
        else m.next_attempt_at end,
      ring_after = null, rings = 0, processed_at = clock_timestamp()
    from whole w
    where m.id = any(array_fill(w.id, '{1}')) and m.id = any(${ids}::uuid[])
      and m.id between ${first}::uuid and ${last}::uuid and m.claim = w.claim and m.status = 'processing'
    returning m.id, w.claim, m.status, m.failure_code,
      (1000 * extract(epoch from m.next_attempt_at - clock_timestamp()))::float8 as delay_ms`;
}

/**
 * What a message has become whose settlement was sent and never answered: undefined when it was not written, or
 * nobody can tell it from another's work.
 */
export async function findSettled(sql: SystemSql, settlement: Settlement): Promise<Settled | undefined> {
  const [row] = await sql<Omit<SettledRow, "id" | "claim"> & { readonly written: boolean }>`
    select m.status, m.failure_code, m.claim is distinct from ${settlement.claim} and (${
    settlement.calls[0]?.call ?? null
  }::uuid is null or exists (
        select from delivery_logs l where l.message_id = m.id and l.id = ${
    settlement.calls[0]?.call ?? null
  }::uuid and l.status = ${settlement.calls[0]?.status ?? null})) as written,
      (1000 * extract(epoch from m.next_attempt_at - clock_timestamp()))::float8 as delay_ms
    from messages m where m.id = ${settlement.message}`;
  return row?.written ? settledOf({ ...row, id: settlement.message, claim: settlement.claim }) : undefined;
}
