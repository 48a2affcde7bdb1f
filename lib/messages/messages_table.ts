import { firstIdAt, type GroupId, type MessageId } from "../ids.ts";
import type { Database } from "../postgres/database.ts";
import { CommitInDoubt, isAnswerLost } from "../postgres/faults.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { MessageStatus, StorageRef, Submission } from "./message.ts";

/** A submission whose body is kept, ready to become a row. */
export interface NewMessage {
  readonly submission: Submission;
  readonly storageRef: StorageRef;
  /** The bytes, when the reference is `inline`. */
  readonly inlineBody?: Uint8Array;
  /** Account, envelope, Message-ID and content; absent when resubmissions are not looked for. */
  readonly submissionHash?: Uint8Array;
}

declare const attempt: unique symbol;
/** One try to ring a message's doorbell, as its row names it; only the try named last may give the message up. */
export type RingAttempt = string & { readonly [attempt]: true };

/** What became of one new message. */
export type InsertVerdict =
  | { readonly kind: "stored"; readonly attempt: RingAttempt }
  /**
   * The same submission was stored before; `revived` when its client had been told 451 (ruling 3.3). Without an
   * attempt a worker has had it already, and nobody need ring.
   */
  | {
    readonly kind: "resubmitted";
    readonly id: MessageId;
    readonly revived: boolean;
    readonly attempt?: RingAttempt;
  }
  | { readonly kind: "over_quota"; readonly limit: number }
  | { readonly kind: "group_inactive" }
  /**
   * The group is gone, a month began just now, or the same submission was given up just now: nothing was stored, and
   * the next try may succeed.
   */
  | { readonly kind: "no_counter" };

interface VerdictRow {
  readonly n: number;
  readonly verdict: "stored" | "resubmitted" | "revived" | "over_quota" | "group_inactive" | "missed";
  readonly attempt: RingAttempt | null;
  readonly id: MessageId;
  readonly monthlyLimit: number;
}

/**
 * Stores a batch in one transaction that also charges the groups' monthly quotas; one verdict for each, in order.
 * Groups are locked in order of id. Throws `CommitInDoubt` when nobody knows whether it happened.
 */
export async function insertMessages(
  database: Database,
  items: readonly NewMessage[],
  resubmissionWindowMs: number,
): Promise<readonly InsertVerdict[]> {
  await openMonths(database, [...new Set(items.map((item) => item.submission.group))]);
  const text = JSON.stringify(items.map(insertable));
  try {
    const found = await insertAll(database.system, text, resubmissionWindowMs);
    const rows = new Map(found.map((row) => [row.n, row]));
    const verdicts = items.map((_, n) => verdictOf(rows.get(n)));
    if (verdicts.some((verdict) => verdict.kind === "no_counter")) openedMonths.delete(database);
    return verdicts;
  } catch (error) {
    if (isAnswerLost(error)) throw new CommitInDoubt("No answer to an insert", { cause: error });
    throw error;
  }
}

function verdictOf(row: VerdictRow | undefined): InsertVerdict {
  switch (row?.verdict) {
    case undefined:
    case "missed":
      return { kind: "no_counter" };
    case "stored":
      if (row.attempt === null) throw new Error("Cannot tell a new message's attempt: its row names none");
      return { kind: "stored", attempt: row.attempt };
    case "resubmitted":
    case "revived":
      return {
        kind: "resubmitted",
        id: row.id,
        revived: row.verdict === "revived",
        ...(row.attempt !== null && { attempt: row.attempt }),
      };
    case "over_quota":
      return { kind: "over_quota", limit: row.monthlyLimit };
    case "group_inactive":
      return { kind: "group_inactive" };
  }
}

function insertable({ submission, storageRef, inlineBody, submissionHash }: NewMessage, n: number) {
  return {
    n,
    id: submission.id,
    group_id: submission.group,
    user_id: submission.user,
    sender: submission.mailFrom,
    subject: submission.headers.subject ?? null,
    header_from: submission.headers.from ?? null,
    rfc_message_id: submission.headers.messageId ?? null,
    size: submission.body.size,
    content_hash: bytea(submission.contentHash),
    submission_hash: bytea(submissionHash),
    storage_ref: storageRef,
    body: bytea(inlineBody),
    smtp_utf8: submission.smtpUtf8,
    eight_bit: submission.eightBit,
    dsn_return: submission.dsnReturn ?? null,
    envelope_id: submission.envelopeId ?? null,
    client_address: submission.client.address,
    helo: submission.client.helo,
    tls: submission.client.tls ?? null,
    correlation_id: submission.correlationId,
    traceparent: submission.traceparent ?? null,
    recipients: submission.recipients.map((recipient) => ({
      a: recipient.address,
      n: recipient.notify ?? null,
      o: recipient.originalRecipient ?? null,
    })),
  };
}

function bytea(bytes: Uint8Array | undefined): string | null {
  return bytes === undefined ? null : `\\x${bytes.toHex()}`;
}

const openedMonths = new WeakMap<Database, Set<string>>();

/** Sees to it that each group has this month's counter, for the insert to lock; asks once for each group and month. */
async function openMonths(database: Database, groups: readonly GroupId[]): Promise<void> {
  const month = new Date().toISOString().slice(0, 7);
  const opened = openedMonths.get(database) ?? new Set();
  const missing = groups.filter((group) => !opened.has(`${month} ${group}`));
  if (missing.length === 0) return;
  await database.system`
    insert into usage (group_id, month)
    select g, date_trunc('month', now(), 'UTC') at time zone 'UTC' from unnest(${missing}::uuid[]) g
      join groups on groups.id = g order by g
    on conflict do nothing`;
  if (opened.size > 100_000) opened.clear();
  for (const group of missing) opened.add(`${month} ${group}`);
  openedMonths.set(database, opened);
}

function insertAll(
  sql: SystemSql,
  text: string,
  resubmissionWindowMs: number,
): Promise<readonly VerdictRow[]> {
  // Two ends, so that PostgreSQL looks into the partitions of that time alone; clocks may differ by a minute.
  const now = Date.now();
  const lately = { from: firstIdAt(now - resubmissionWindowMs), to: firstIdAt(now + 60_000) };
  return sql<VerdictRow>`
    with item as materialized (
      select * from jsonb_to_recordset(${text}::jsonb) as item (n int, id uuid, group_id uuid, user_id uuid,
        sender text, subject text, header_from text, rfc_message_id text, size bigint, content_hash bytea,
        submission_hash bytea, storage_ref text, body bytea, smtp_utf8 boolean, eight_bit boolean, dsn_return text,
        envelope_id text, client_address inet, helo text, tls text, correlation_id text, traceparent text,
        recipients jsonb)
    ), account as materialized (
      select u.group_id, u.messages, g.monthly_limit, g.status
      from usage u join groups g on g.id = u.group_id
      where u.group_id in (select group_id from item)
        and u.month = (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date
      order by u.group_id for update of u
    ), ranked as (
      select i.*, e.id as earlier_id, e.status as earlier_status, e.attempt as earlier_attempt, a.monthly_limit, a.status as group_status,
        a.messages + count(*) filter (where e.id is null or e.status = 'enqueue_failed')
          over (partition by i.group_id order by i.n) as would_be
      from item i join account a using (group_id) left join lateral
        -- By the account's group, so that it looks once that is locked.
        find_submission(a.group_id, i.submission_hash, ${lately.from}::uuid, ${lately.to}::uuid) e on true
    ), decided as materialized (
      select *, clock_timestamp() as attempt, case
        when group_status <> 'active' then 'group_inactive'
        when earlier_id is not null and earlier_status <> 'enqueue_failed' then 'resubmitted'
        when monthly_limit > 0 and would_be > monthly_limit then 'over_quota'
        when earlier_id is not null then 'revived'
        else 'stored' end as verdict
      from ranked
    ), revived as (
      update messages m set status = 'queued', next_attempt_at = d.attempt, processed_at = null
      from decided d where d.verdict = 'revived' and m.id = d.earlier_id and m.status = 'enqueue_failed'
      returning m.id, m.group_id, m.next_attempt_at
    ), charged as (
      update usage u set messages = u.messages + c.count
      from (select group_id, count(*) from (select group_id from decided where verdict = 'stored'
        union all select group_id from revived) new group by group_id) c
      where u.group_id = c.group_id and u.month = (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date
    ), stored as (
      insert into messages (id, group_id, user_id, sender, subject, header_from, rfc_message_id, recipient_count, size,
        content_hash, submission_hash, storage_ref, body, status, next_attempt_at, smtp_utf8, eight_bit, dsn_return,
        envelope_id, client_address, helo, tls, correlation_id, traceparent, enqueued_at)
      select id, group_id, user_id, sender, subject, header_from, rfc_message_id, jsonb_array_length(recipients), size,
        content_hash, submission_hash, storage_ref, body, 'queued', attempt, smtp_utf8, eight_bit,
        dsn_return, envelope_id, client_address, helo, tls, correlation_id, traceparent, clock_timestamp()
      from decided where verdict = 'stored'
    ), named as (
      insert into recipients (message_id, position, group_id, address, notify, original_recipient)
      select d.id, r.position, d.group_id, r.value ->> 'a', r.value ->> 'n', r.value ->> 'o'
      from decided d cross join lateral jsonb_array_elements(d.recipients) with ordinality as r (value, position)
      where d.verdict = 'stored'
    )
    -- A row given up while this waited is seen by the look-up alone: it is not revived, and its client comes again.
    select d.n, d.earlier_id as id, d.monthly_limit,
      case when d.verdict = 'revived' and r.id is null then 'missed' else d.verdict end as verdict,
      case d.verdict when 'stored' then d.attempt when 'revived' then r.next_attempt_at
        when 'resubmitted' then d.earlier_attempt end::text as attempt
    from decided d left join revived r on r.id = d.earlier_id order by d.n`;
}

/** Which of these ids have a row, asked on a connection that is new to the question (ruling 3.3). */
export async function findStored(
  sql: SystemSql,
  ids: readonly MessageId[],
): Promise<ReadonlyMap<MessageId, MessageStatus>> {
  const rows = await sql<{ id: MessageId; status: MessageStatus }>`
    select id, status from messages where id = any(${ids}::uuid[])`;
  return new Map(rows.map((row) => [row.id, row.status]));
}

/** A message whose doorbell could not be rung, and the try that failed; without one it is not the caller's to give up. */
export interface FailedRing {
  readonly message: MessageId;
  readonly attempt?: RingAttempt;
}

/**
 * Gives up messages whose doorbell could not be rung, and what they were charged, unless a later try took a message
 * over. Answers those that a worker has had; of any other the client must be told to come again.
 */
export async function markEnqueueFailed(
  sql: SystemSql,
  failed: readonly FailedRing[],
): Promise<ReadonlySet<MessageId>> {
  const ids = failed.map(({ message }) => message);
  const rows = await sql<{ id: MessageId }>`
    with account as materialized (
      -- Before the messages, as whoever stores messages does: the group's lock guards both.
      select u.group_id from usage u
      where (u.group_id, u.month) in (
        select m.group_id, month from messages m cross join lateral unnest(array[
          (date_trunc('month', m.enqueued_at, 'UTC') at time zone 'UTC')::date,
          (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date]) month
        where m.id = any(${ids}::uuid[]))
      order by u.group_id, u.month for update of u
    ), given_up as (
      update messages m set status = 'enqueue_failed', processed_at = now()
      from unnest(${ids}::uuid[], ${
    failed.map((ring) => ring.attempt ?? null)
  }::timestamptz[]) a (id, attempt)
      where (select count(*) from account) >= 0 and m.id = a.id and m.id = any(${ids}::uuid[])
        and m.status = 'queued' and m.claim is null and m.next_attempt_at = a.attempt
      returning m.id, m.group_id, m.enqueued_at
    ), refund as (
      select group_id, (date_trunc('month', enqueued_at, 'UTC') at time zone 'UTC')::date as month, count(*)
      from given_up group by 1, 2 order by 1
    ), refunded as (
      update usage u set messages = greatest(0, u.messages - r.count) from refund r
      where u.group_id = r.group_id and u.month = r.month
    )
    select m.id from messages m
    where m.id = any(${ids}::uuid[]) and (m.status not in ('queued', 'enqueue_failed') or m.claim is not null)`;
  return new Set(rows.map((row) => row.id));
}
