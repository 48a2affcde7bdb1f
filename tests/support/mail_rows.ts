import { newId } from "../../lib/ids.ts";
import type { Session } from "../../lib/postgres/database.ts";

/** What a message is like that a test puts into the tables as the superuser. */
export interface MailRow {
  readonly group: string;
  readonly user: string;
  readonly id?: string;
  readonly sender?: string;
  readonly recipients?: readonly (readonly [address: string, status: string])[];
  readonly subject?: string;
  readonly rfcMessageId?: string;
  readonly status?: string;
  readonly failure?: string;
  readonly provider?: string;
  /** Without it the bytes `body` are inline. */
  readonly storageRef?: string;
  readonly bodyRemoved?: boolean;
}

/** Puts one message into the tables and answers its id. */
export async function addMail(session: Session, row: MailRow): Promise<string> {
  const id = row.id ?? newId<never>() as string;
  const { status = "queued", recipients = [["to@example.net", "pending"]], storageRef = "inline" } = row;
  await session.query(
    `insert into messages (id, group_id, user_id, sender, subject, rfc_message_id, recipient_count, size, content_hash,
        storage_ref, body, body_removed_at, status, failure_code, claimed_until, claim, provider_id, next_attempt_at,
        correlation_id, enqueued_at)
      values ($1, $2, $3, $4, $5, $6, $7, 4, sha256('x'), $8::text, case when $8::text = 'inline' then 'body'::bytea end,
        case when $9 then now() end, $10::text, $11, case when $10::text = 'processing' then now() + interval '1 minute' end,
        case when $10::text = 'processing' then 1 end, $12, now(), 'c', now())`,
    [
      id,
      row.group,
      row.user,
      row.sender ?? "from@example.com",
      row.subject ?? null,
      row.rfcMessageId ?? null,
      recipients.length,
      storageRef,
      row.bodyRemoved ?? false,
      status,
      row.failure ?? (status === "failed" ? "exhausted" : null),
      row.provider ?? null,
    ],
  );
  for (const [index, [address, standing]] of recipients.entries()) {
    await session.query(
      `insert into recipients (message_id, position, group_id, address, status, attempts, failure_code)
        values ($1, $2, $3, $4, $5, $6, $7)`,
      [
        id,
        index + 1,
        row.group,
        address,
        standing,
        standing === "pending" ? 0 : 6,
        standing === "failed" ? "exhausted" : null,
      ],
    );
  }
  return id;
}
