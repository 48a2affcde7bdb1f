import { createHash } from "node:crypto";
import { openSession } from "../../lib/postgres/database.ts";
import { type GroupId, type MessageId, newId, type UserId } from "../../lib/ids.ts";
import type { Submission } from "../../lib/messages/message.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";

/** A group and its SMTP account. */
export interface TestAccount {
  readonly group: GroupId;
  readonly user: UserId;
}

/** Makes a group with one SMTP account, as the superuser; the account's name is the group's. */
export async function makeAccount(
  ownerUrl: string,
  options: { readonly name?: string; readonly monthlyLimit?: number; readonly passwordHash?: string } = {},
): Promise<TestAccount> {
  await withinOneMonth();
  const account = { group: newId<GroupId>(), user: newId<UserId>() };
  const name = options.name ?? `g${account.group.slice(-8)}`;
  await using session = await openSession({ url: ownerUrl });
  await session.run(`begin;
    insert into groups (id, name, monthly_limit, allowed_domains)
      values ('${account.group}', '${name}', ${options.monthlyLimit ?? 0}, '["*"]');
    insert into users (id, email, username, account_type, password_hash, allowed_domains)
      values ('${account.user}', '${name}@smtp.internal', '${name}', 'smtp',
        ${options.passwordHash === undefined ? "null" : `'${options.passwordHash}'`}, '["example.com"]');
    insert into group_members (group_id, user_id, account_type)
      values ('${account.group}', '${account.user}', 'smtp');
    commit`);
  return account;
}

/** What is sent is charged by the month (UTC), so a test that begins in the last minute of one waits for the next. */
async function withinOneMonth(): Promise<void> {
  const now = new Date();
  const leftMs = Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1) - now.getTime();
  if (leftMs < 60_000) await new Promise((resolve) => setTimeout(resolve, leftMs + 1));
}

/** A small, complete submission; what is given replaces its parts. */
export function submissionOf(
  account: TestAccount,
  changes: Partial<Submission> & { readonly text?: string } = {},
): Submission {
  const { text = `Subject: test\r\n\r\n${crypto.randomUUID()}\r\n`, ...rest } = changes;
  const bytes = new TextEncoder().encode(text);
  return {
    id: newId<MessageId>(),
    ...account,
    mailFrom: "sender@example.com",
    recipients: [{ address: "one@example.net" }],
    body: memoryBody(bytes, sha256(bytes)),
    contentHash: sha256(bytes),
    headers: { subject: "test", from: "sender@example.com" },
    client: { address: "127.0.0.1", helo: "client.example.com" },
    eightBit: false,
    smtpUtf8: false,
    correlationId: "test",
    ...rest,
  };
}

function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}
