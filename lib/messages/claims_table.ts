import type { CallId, GroupId, MessageId, ProviderId, RecipientId, UserId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import { spanOf } from "./id_span.ts";
import type { Message, Recipient, StorageRef } from "./message.ts";
import { forgetRings } from "./orphans_table.ts";

/** A message in this process's hands, until the number is no longer the row's (ruling 3.5). */
export interface Claim {
  readonly number: number;
  readonly message: Message;
  readonly groupRevision: number;
  readonly groupActive: boolean;
  /** Whether the group has ever suppressed an address: only then need anybody look. */
  readonly hasSuppressions: boolean;
  /** Time since the message was accepted, or put back into the queue by hand, by the database's clock. */
  readonly ageMs: number;
  /** Claims, this one included, since one ended as it should. */
  readonly claims: number;
  /** Calls an earlier claim began and never settled: nobody knows what became of them (ruling 3.12). */
  readonly openCalls: readonly OpenCall[];
  /** Whether recipients are pending that are not due yet; they are not in `message.recipients`. */
  readonly laterRecipients: boolean;
}

/** A call whose end was never written down. */
export interface OpenCall {
  readonly call: CallId;
  readonly provider?: ProviderId;
  readonly recipients: readonly RecipientId[];
}

/** How asking for a message ended. */
export type ClaimAnswer =
  | { readonly kind: "claimed"; readonly claim: Claim }
  /** Nothing is left to do; the doorbell rang twice, or the message was given up. */
  | { readonly kind: "finished" }
  /** Someone else has it, or it is not due yet. */
  | { readonly kind: "busy"; readonly forMs: number };

interface ClaimedRow {
  readonly id: MessageId;
  readonly claim: number;
  readonly groupId: GroupId;
  readonly userId: UserId;
  readonly sender: string;
  readonly storageRef: StorageRef;
  readonly size: number;
  readonly smtpUtf8: boolean;
  readonly eightBit: boolean;
  readonly dsnReturn: "FULL" | "HDRS" | null;
  readonly envelopeId: string | null;
  readonly correlationId: string;
  readonly traceparent: string | null;
  readonly enqueuedAt: Date;
  readonly ageMs: number;
  readonly claims: number;
  readonly revision: number;
  readonly active: boolean;
  readonly hasSuppressions: boolean;
  readonly recipients: readonly RecipientRow[] | null;
  readonly later: boolean;
  readonly calls:
    | readonly { readonly c: CallId; readonly p: ProviderId | null; readonly r: RecipientId[] }[]
    | null;
}

interface RecipientRow {
  readonly p: RecipientId;
  readonly a: string;
  readonly n: string | null;
  readonly o: string | null;
  readonly t: number;
  readonly w: number | null;
  readonly c: string | null;
}

/** Who claims and for how long. */
export interface Claimant {
  /** See `holderOf`. */
  readonly holder: string;
  readonly leaseMs: number;
  /**
   * The claims the holder knows of. It takes none of them from itself, however late it is, for it renews them; any
   * other of its claims is one whose answer was lost, and may be made again.
   */
  readonly held: readonly number[];
}

/** Claims what is due of a batch; one answer for each id. Rows another claim is being written to are busy. */
export async function claimMessages(
  sql: SystemSql,
  ids: readonly MessageId[],
  claimant: Claimant,
): Promise<ReadonlyMap<MessageId, ClaimAnswer>> {
  const answers = new Map<MessageId, ClaimAnswer>();
  for (const row of await takeDue(sql, ids, claimant)) {
    answers.set(row.id, { kind: "claimed", claim: claimOf(row) });
  }
  const rest = ids.filter((id) => !answers.has(id));
  if (rest.length === 0) return answers;
  for (const row of await lookAt(sql, rest)) {
    if (row.unfinished) answers.set(row.id, { kind: "busy", forMs: Math.max(50, row.forMs) });
  }
  for (const id of rest) if (!answers.has(id)) answers.set(id, { kind: "finished" });
  return answers;
}

function takeDue(sql: SystemSql, ids: readonly MessageId[], { holder, leaseMs, held }: Claimant) {
  const { first, last } = spanOf(ids);
  return sql<ClaimedRow>`
    with due as materialized (
      select id from messages
      where id = any(${ids}::uuid[]) and id between ${first}::uuid and ${last}::uuid and case status
          -- No conditions of their own: the indexes of all that is queued or claimed would be gone through for them.
          when 'queued' then next_attempt_at <= clock_timestamp()
          when 'processing' then case when claimed_by = ${holder} then claim <> all(${held}::bigint[])
            else claimed_until < clock_timestamp() end
          else false end
      for update skip locked
    ), claimed as (
      update messages m set status = 'processing', claim = nextval('message_claims'), claimed_by = ${holder},
        claimed_until = clock_timestamp() + make_interval(secs => ${leaseMs} / 1000.0), claims = m.claims + 1,
        ring_after = null, rings = 0
      from due where m.id = due.id and m.id = any(${ids}::uuid[]) and m.id between ${first}::uuid and ${last}::uuid
      returning m.id, m.claim, m.group_id, m.user_id, m.sender, m.storage_ref, m.size, m.smtp_utf8, m.eight_bit,
        m.dsn_return, m.envelope_id, m.correlation_id, m.traceparent, m.enqueued_at, m.requeued_at, m.claims
    )
    select c.*, (1000 * extract(epoch from clock_timestamp() - coalesce(c.requeued_at, c.enqueued_at)))::float8 as age_ms,
      g.revision, g.status = 'active' as active, g.has_suppressions, r.recipients, coalesce(r.later, false) as later, l.calls
    from claimed c
      join groups g on g.id = c.group_id
      left join lateral (
        select jsonb_agg(jsonb_build_object('p', r.position, 'a', r.address, 'n', r.notify, 'o', r.original_recipient,
            't', r.attempts, 'w', round(1000 * extract(epoch from r.next_attempt_at - r.updated_at)), 'c', r.wait_cause) order by r.position)
            filter (where r.next_attempt_at is null or r.next_attempt_at <= clock_timestamp()) as recipients,
          bool_or(r.next_attempt_at > clock_timestamp()) as later
        from recipients r
        where r.message_id = c.id and r.message_id between ${first}::uuid and ${last}::uuid and r.status = 'pending'
      ) r on true
      left join lateral (
        select jsonb_agg(jsonb_build_object('c', l.id, 'p', l.provider_id, 'r', l.recipients) order by l.id) as calls
        from delivery_logs l
        where c.claims > 1 and l.message_id = c.id and l.message_id between ${first}::uuid and ${last}::uuid and l.status = 'started'
      ) l on true`;
}

function claimOf(row: ClaimedRow): Claim {
  const message: Message = {
    id: row.id,
    group: row.groupId,
    user: row.userId,
    mailFrom: row.sender,
    recipients: (row.recipients ?? []).map(recipientOf),
    storageRef: row.storageRef,
    size: row.size,
    smtpUtf8: row.smtpUtf8,
    eightBit: row.eightBit,
    ...(row.dsnReturn && { dsnReturn: row.dsnReturn }),
    ...(row.envelopeId !== null && { envelopeId: row.envelopeId }),
    correlationId: row.correlationId,
    ...(row.traceparent !== null && { traceparent: row.traceparent }),
    acceptedAtMs: row.enqueuedAt.getTime(),
  };
  return {
    number: row.claim,
    message,
    groupRevision: row.revision,
    groupActive: row.active,
    hasSuppressions: row.hasSuppressions,
    ageMs: row.ageMs,
    claims: row.claims,
    openCalls: (row.calls ?? []).map((call) => ({
      call: call.c,
      recipients: call.r,
      ...(call.p !== null && { provider: call.p }),
    })),
    laterRecipients: row.later,
  };
}

function recipientOf(row: RecipientRow): Recipient {
  return {
    id: row.p,
    address: row.a,
    ...(row.n !== null && { notify: row.n }),
    ...(row.o !== null && { originalRecipient: row.o }),
    attempts: row.t,
    ...(row.w !== null && row.w > 0 && { lastDelayMs: row.w }),
    ...(row.c !== null && { lastCause: row.c }),
  };
}

/** Rows that were not claimed: whether anything is left to do for them, and when to ask again. */
function lookAt(sql: SystemSql, ids: readonly MessageId[]) {
  const { first, last } = spanOf(ids);
  return sql<{ readonly id: MessageId; readonly unfinished: boolean; readonly forMs: number }>`
    select id, status in ('queued', 'processing') as unfinished, ceil(1000 * extract(epoch from
      coalesce(case status when 'processing' then claimed_until else next_attempt_at end, clock_timestamp())
        - clock_timestamp()))::float8 as for_ms
    from messages where id = any(${ids}::uuid[]) and id between ${first}::uuid and ${last}::uuid`;
}

/** Lengthens claims; answers the numbers that are still in force. The others are lost: their work must stop. */
export async function renewClaims(
  sql: SystemSql,
  claims: readonly { readonly message: MessageId; readonly number: number }[],
  leaseMs: number,
): Promise<ReadonlySet<number>> {
  if (claims.length === 0) return new Set();
  // In order of id, as everybody locks messages.
  const sorted = claims.toSorted((a, b) => a.message < b.message ? -1 : 1);
  const { ids, first, last } = spanOf(sorted.map((claim) => claim.message));
  const rows = await sql<{ claim: number }>`
    update messages m set claimed_until = clock_timestamp() + make_interval(secs => ${leaseMs} / 1000.0)
    from unnest(${ids}::uuid[], ${sorted.map((claim) => claim.number)}::bigint[]) as held (id, claim)
    where m.id = held.id and m.id between ${first}::uuid and ${last}::uuid and m.claim = held.claim
      and m.status = 'processing'
    returning m.claim`;
  return new Set(rows.map((row) => row.claim));
}

/** An inline body, for a message whose store was down when it came; undefined when it is gone. */
export async function readInlineBody(sql: SystemSql, id: MessageId): Promise<Uint8Array | undefined> {
  const [row] = await sql<{ body: Uint8Array | null }>`select body from messages where id = ${id}`;
  return row?.body ?? undefined;
}

/**
 * Says that this worker process lives under a name it keeps across restarts. Answers how long ago the process before
 * it was last seen, or undefined when there was none.
 */
export async function announceWorker(
  sql: SystemSql,
  name: string,
  incarnation: string,
): Promise<{ readonly previous?: string; readonly seenMsAgo?: number }> {
  const [row] = await sql<{ incarnation: string; ageMs: number }>`
    select incarnation, 1000 * extract(epoch from clock_timestamp() - seen_at)::float8 as age_ms
    from workers where name = ${name}`;
  if (row === undefined) {
    await sql`insert into workers (name, incarnation) values (${name}, ${incarnation}) on conflict do nothing`;
    return {};
  }
  return { previous: row.incarnation, seenMsAgo: row.ageMs };
}

/** Forgets a portion of the names of which no process has given a sign of life for a week; answers how many went. */
export async function purgeWorkers(sql: SystemSql, portion: number): Promise<number> {
  const rows = await sql`
    delete from workers where name = any(array(
      select name from workers where seen_at < clock_timestamp() - interval '7 days' limit ${portion}))
    returning name`;
  return rows.length;
}

/** Keeps a worker's sign of life fresh; false when another process has taken the name. */
export async function touchWorker(sql: SystemSql, name: string, incarnation: string): Promise<boolean> {
  const rows = await sql`
    update workers set seen_at = clock_timestamp() where name = ${name} and incarnation = ${incarnation}
    returning name`;
  return rows.length === 1;
}

/**
 * Takes a name over from the process that had it last, and ends the claims of all that had it before at once: also of
 * one that was gone before it could take the name over itself. Answers how many there were; undefined when another
 * process was faster.
 */
export async function succeedWorker(
  sql: SystemSql,
  name: string,
  previous: string,
  incarnation: string,
): Promise<number | undefined> {
  await forgetRings(sql);
  const [succession] = await sql<{ readonly taken: number; readonly freed: number }>`
    with taken as (
      update workers set incarnation = ${incarnation}, seen_at = clock_timestamp()
      where name = ${name} and incarnation = ${previous} returning name
    ), freed as (
      update messages m set claimed_until = clock_timestamp() from taken
      where m.status = 'processing' and starts_with(m.claimed_by, ${`${name}/`})
        and m.claimed_by <> ${holderOf(name, incarnation)}
      returning m.id
    )
    select (select count(*)::integer from taken) as taken, (select count(*)::integer from freed) as freed`;
  return succession?.taken === 1 ? succession.freed : undefined;
}

/** What stands in `claimed_by`: the worker's name and which of its processes. */
export function holderOf(name: string, incarnation: string): string {
  return `${name}/${incarnation}`;
}
