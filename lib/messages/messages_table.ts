import { firstIdAt, type GroupId, type MessageId } from "../ids.ts";
import type { Database } from "../postgres/database.ts";
import { CommitInDoubt, isAnswerLost } from "../postgres/faults.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { RowBells } from "../queue/queue.ts";
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
/**
 * One try to ring a message's doorbell, as its row names it: the right to give the message up when that fails. Only
 * who stored or revived a row has it, and nobody any more once a resubmission was promised the same row.
 */
export type RingAttempt = string & { readonly [attempt]: true };

/** What became of one new message. */
export type InsertVerdict =
  | {
    readonly kind: "stored";
    /** Absent when a twin in the batch was promised this row too. */
    readonly attempt?: RingAttempt;
    /** Its doorbell rang with it. */
    readonly hasRung: boolean;
  }
  /** The same submission was stored before; `revived` when its client had been told 451 (ruling 3.3). */
  | {
    readonly kind: "resubmitted";
    readonly id: MessageId;
    readonly revived: boolean;
    /** False when a worker has had it already. */
    readonly needsBell: boolean;
    /** Of a revived one alone: what is queued may have been answered with 250, and is nobody's to give up. */
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
  readonly hasRung: boolean;
}

/**
 * Stores a batch in one transaction that also charges the groups' monthly quotas; one verdict for each, in order.
 * With `bells` the doorbells of new messages ring in the same transaction. Groups are locked in order of id. Throws
 * `CommitInDoubt` when nobody knows whether it happened.
 */
export async function insertMessages(
  database: Database,
  items: readonly NewMessage[],
  resubmissionWindowMs: number,
  bells?: RowBells,
): Promise<readonly InsertVerdict[]> {
  await openMonths(database, [...new Set(items.map((item) => item.submission.group))]);
  const { first, standsFor } = withoutTwins(items);
  try {
    const found = await insertAll(database.system, first, resubmissionWindowMs, bells);
    if (found.some(({ hasRung }) => hasRung)) bells?.rang();
    const rows = new Map(found.map((row) => [row.n, row]));
    const verdicts = first.map((_, n) => verdictOf(rows.get(n)));
    if (verdicts.some((verdict) => verdict.kind === "no_counter")) openedMonths.delete(database);
    if (first.length === items.length) return verdicts;
    const twins = new Set(standsFor.filter(({ isTwin }) => isTwin).map(({ n }) => n));
    return standsFor.map(({ n, isTwin }) => {
      const verdict = verdicts[n] ?? { kind: "no_counter" };
      if (!twins.has(n)) return verdict;
      return withoutAttempt(isTwin ? ofTwin(verdict, first[n]?.submission.id) : verdict);
    });
  } catch (error) {
    if (isAnswerLost(error)) throw new CommitInDoubt("No answer to an insert", { cause: error });
    throw error;
  }
}

/** The items that are no repetition of one before, and for each item the one of these that it is or repeats. */
function withoutTwins(items: readonly NewMessage[]) {
  const first: NewMessage[] = [];
  const seen = new Map<string, number>();
  const standsFor = items.map((item) => {
    const key = item.submissionHash?.toHex();
    const twin = key === undefined ? undefined : seen.get(key);
    if (twin !== undefined) return { n: twin, isTwin: true };
    if (key !== undefined) seen.set(key, first.length);
    return { n: first.push(item) - 1, isTwin: false };
  });
  return { first, standsFor };
}

function ofTwin(verdict: InsertVerdict, id: MessageId | undefined): InsertVerdict {
  if (verdict.kind !== "stored" || id === undefined) return verdict;
  return { kind: "resubmitted", id, revived: false, needsBell: !verdict.hasRung };
}

/** Neither of a pair may give up what the other is promised. */
function withoutAttempt(verdict: InsertVerdict): InsertVerdict {
  if (verdict.kind !== "stored" && verdict.kind !== "resubmitted") return verdict;
  const { attempt: _, ...rest } = verdict;
  return rest;
}

function verdictOf(row: VerdictRow | undefined): InsertVerdict {
  switch (row?.verdict) {
    case undefined:
    case "missed":
      return { kind: "no_counter" };
    case "stored":
      if (row.attempt === null) throw new Error("Cannot tell a new message's attempt: its row names none");
      return { kind: "stored", attempt: row.attempt, hasRung: row.hasRung };
    case "resubmitted":
      return { kind: "resubmitted", id: row.id, revived: false, needsBell: row.attempt !== null };
    case "revived":
      return {
        kind: "resubmitted",
        id: row.id,
        revived: true,
        needsBell: true,
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
    subject: submission.headers.subject,
    header_from: submission.headers.from,
    rfc_message_id: submission.headers.messageId,
    size: submission.body.size,
    content_hash: bytea(submission.contentHash),
    submission_hash: bytea(submissionHash),
    storage_ref: storageRef,
    body: bytea(inlineBody),
    smtp_utf8: submission.smtpUtf8,
    eight_bit: submission.eightBit,
    dsn_return: submission.dsnReturn,
    envelope_id: submission.envelopeId,
    client_address: submission.client.address,
    helo: submission.client.helo,
    tls: submission.client.tls,
    correlation_id: submission.correlationId,
    traceparent: submission.traceparent,
    recipients: submission.recipients.map((recipient) => ({
      a: recipient.address,
      n: recipient.notify,
      o: recipient.originalRecipient,
    })),
  };
}

function bytea(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : `\\x${bytes.toHex()}`;
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
  items: readonly NewMessage[],
  resubmissionWindowMs: number,
  bells: RowBells | undefined,
): Promise<readonly VerdictRow[]> {
  // Two ends, so that PostgreSQL looks into the partitions of that time alone; clocks may differ by a minute.
  const now = Date.now();
  const lately = { from: firstIdAt(now - resubmissionWindowMs), to: firstIdAt(now + 60_000) };
  const counts = new Map<GroupId, number>();
  for (const { submission: { group } } of items) counts.set(group, (counts.get(group) ?? 0) + 1);
  const groups = [...counts.keys()].sort();
  const hashes = items.flatMap(({ submissionHash }) => bytea(submissionHash) ?? []);
  return sql<VerdictRow>`
    select n, verdict, id, monthly_limit, attempt, has_rung from store_messages(
      ${JSON.stringify(items.map(insertable))}::jsonb, ${groups}::uuid[],
      ${groups.map((group) => counts.get(group))}::integer[], ${hashes}::bytea[],
      ${lately.from}::uuid, ${lately.to}::uuid, ${bells !== undefined}::boolean)`;
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

/** A message whose doorbell could not be rung, and the right to give it up, if the caller has it. */
export interface FailedRing {
  readonly message: MessageId;
  readonly attempt?: RingAttempt;
}

/**
 * Gives up messages whose doorbell could not be rung, and what they were charged, unless a later try was promised the
 * message. Answers those that a worker has had; of any other the client must be told to come again.
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
          -- Charged when the attempt began, which for a revived message is not when it came first.
          (date_trunc('month', m.next_attempt_at, 'UTC') at time zone 'UTC')::date,
          (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date]) month
        where m.id = any(${ids}::uuid[]))
      order by u.group_id, u.month for update of u
    ), standing as materialized (
      -- As they stand now: while the account was waited for, a worker may have had them. Only what may still be given
      -- up can be locked (migration 005).
      select m.id, m.status, m.claim is null and m.claims = 0 and m.attempts = 0 and m.processed_at is null as is_new
      from messages m where (select count(*) from account) >= 0 and m.id = any(${ids}::uuid[])
      order by m.id for update
    ), given_up as (
      update messages m set status = 'enqueue_failed', processed_at = now()
      from unnest(${ids}::uuid[], ${
    failed.map((ring) => ring.attempt ?? null)
  }::timestamptz[]) a (id, attempt)
      where (select count(*) from standing) >= 0 and m.id = a.id and m.id = any(${ids}::uuid[])
        and m.next_attempt_at = a.attempt and case m.status when 'queued'
          then m.claim is null and m.claims = 0 and m.attempts = 0 and m.processed_at is null else false end
      returning m.id, m.group_id, m.next_attempt_at
    ), refund as (
      select group_id, (date_trunc('month', next_attempt_at, 'UTC') at time zone 'UTC')::date as month, count(*)
      from given_up group by 1, 2 order by 1
    ), refunded as (
      update usage u set messages = greatest(0, u.messages - r.count) from refund r
      where u.group_id = r.group_id and u.month = r.month
    )
    select m.id from messages m left join standing s on s.id = m.id
    where m.id = any(${ids}::uuid[]) and case s.status when 'enqueue_failed' then false
      when 'queued' then not s.is_new else true end`;
  return new Set(rows.map((row) => row.id));
}
