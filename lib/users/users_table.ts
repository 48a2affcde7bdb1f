import type { UserId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { User } from "./user.ts";

/** The id of the user with an e-mail address, whatever the status. */
export async function findUserByEmail(sql: SystemSql, email: string): Promise<UserId | undefined> {
  const [row] = await sql<{ id: UserId }>`select id from users where lower(email) = lower(${email})`;
  return row?.id;
}

/**
 * Creates a user unless the address or the user name is taken; answers whether it did. An SMTP account needs its
 * membership in the same transaction.
 */
export async function insertUser(sql: SystemSql, user: User, passwordHash: string): Promise<boolean> {
  const rows = await sql`
    insert into users (id, email, username, account_type, password_hash, status, allowed_domains)
    values (${user.id}, ${user.email}, ${user.username ?? null}, ${user.accountType}, ${passwordHash},
      ${user.status}, ${JSON.stringify(user.allowedDomains)}::jsonb)
    on conflict do nothing returning id`;
  return rows.length === 1;
}
