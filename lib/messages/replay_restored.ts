import type { MessageId } from "../ids.ts";
import type { Session } from "../postgres/database.ts";
import { withoutRowSecurity } from "../postgres/without_row_security.ts";
import type { BodyLabel } from "../store/message_store.ts";
import type { KeptHeaders, StorageRef } from "./message.ts";

/** What the database knows of a body: a row of its id, or why there can be none; `missing` is one that may be made. */
export type BodyStanding = "known" | "missing" | "group_unknown" | "account_unknown" | "too_old";

/** How bodies stand, by the ids of their messages; by the owner of the tables (ruling 3.22). */
export async function standingOf(
  owner: Session,
  labels: readonly BodyLabel[],
): Promise<ReadonlyMap<MessageId, BodyStanding>> {
  const asked = labels.map(({ id, group, user }) => ({ id, group, user }));
  const rows = await withoutRowSecurity(
    owner,
    ["messages", "groups", "users"],
    () => owner.query(standing, [JSON.stringify(asked)]),
  );
  return new Map(rows.map((row) => [row["id"] as MessageId, row["standing"] as BodyStanding]));
}

/** A message as it can be told from its body and the header before it. */
export interface RestoredMessage {
  readonly label: BodyLabel;
  readonly storageRef: StorageRef;
  readonly storedAt: Date;
  readonly size: number;
  readonly sha256: Uint8Array;
  readonly headers: KeptHeaders;
  readonly eightBit: boolean;
  readonly smtpUtf8: boolean;
}

/**
 * Writes messages with their recipients as dead letters (`failed`, `restored`), for a person to send again; those that
 * there is a row of are left as they are. Answers how many were written, all or none.
 */
export async function insertRestored(
  owner: Session,
  messages: readonly RestoredMessage[],
  run: string,
): Promise<number> {
  const items = messages.map((
    { label, storageRef, storedAt, size, sha256, headers, eightBit, smtpUtf8 },
  ) => ({
    id: label.id,
    group_id: label.group,
    user_id: label.user,
    sender: label.mailFrom,
    subject: headers.subject,
    header_from: headers.from,
    rfc_message_id: headers.messageId,
    size,
    content_hash: sha256.toHex(),
    storage_ref: storageRef,
    smtp_utf8: smtpUtf8,
    eight_bit: eightBit,
    stored_at: storedAt.toISOString(),
    recipients: label.recipients,
  }));
  const [row] = await withoutRowSecurity(
    owner,
    ["messages", "recipients", "groups", "users"],
    () => owner.query(insert, [JSON.stringify(items), run]),
  );
  return Number(row?.["written"]);
}

const standing = `
  select b.id::text as id, case
    when exists (select from messages m where m.id = b.id) then 'known'
    when not exists (select from groups g where g.id = b."group") then 'group_unknown'
    when not exists (select from users u where u.id = b."user") then 'account_unknown'
    -- Its week is being dropped.
    when exists (select from usage_weeks w where w.ends > b.id and w.starts <= b.id) then 'too_old'
    else 'missing' end as standing
  from jsonb_to_recordset($1::jsonb) as b (id uuid, "group" uuid, "user" uuid)`;

const insert = `
  with item as materialized (
    select * from jsonb_to_recordset($1::jsonb) as item (id uuid, group_id uuid, user_id uuid, sender text,
      subject text, header_from text, rfc_message_id text, size bigint, content_hash text, storage_ref text,
      smtp_utf8 boolean, eight_bit boolean, stored_at timestamptz, recipients jsonb)
  ), stored as (
    insert into messages (id, group_id, user_id, sender, subject, header_from, rfc_message_id, recipient_count, size,
      content_hash, storage_ref, status, failure_code, next_attempt_at, smtp_utf8, eight_bit, correlation_id,
      enqueued_at, processed_at)
    select id, group_id, user_id, sender, subject, header_from, rfc_message_id, jsonb_array_length(recipients), size,
      decode(content_hash, 'hex'), storage_ref, 'failed', 'restored', stored_at, smtp_utf8, eight_bit, $2, stored_at,
      clock_timestamp()
    from item on conflict (id) do nothing returning id
  ), addressed as (
    insert into recipients (message_id, position, group_id, address, status, failure_code, updated_at)
    select item.id, r.position, item.group_id, r.address, 'failed', 'restored', clock_timestamp()
    from item join stored using (id)
      cross join lateral jsonb_array_elements_text(item.recipients) with ordinality as r (address, position)
  )
  select count(*)::int as written from stored`;
