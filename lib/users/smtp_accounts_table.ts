import type { GroupId, UserId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";

/** An SMTP account as AUTH needs it. */
export interface SmtpAccount {
  readonly user: UserId;
  readonly group: GroupId;
  readonly username: string;
  readonly passwordHash: string | null;
  /** The account and its group are active, and the key, if one was used, may send and has not ended. */
  readonly isUsable: boolean;
  readonly revision: string;
  /** CIDR texts; null allows every address. */
  readonly allowedIps: readonly string[] | null;
  /** When the key that was used ends, in milliseconds since 1970; null for a password and a key without end. */
  readonly expiresAtMs: number | null;
}

/** The SMTP accounts of a batch of user names, compared without case; names without account are missing. */
export async function findSmtpAccounts(
  sql: SystemSql,
  usernames: readonly string[],
): Promise<readonly SmtpAccount[]> {
  return await sql<SmtpAccount>`
    select u.id as user, m.group_id as group, u.username, u.password_hash,
      u.status = 'active' and g.status = 'active' as is_usable, u.revision::text as revision,
      g.allowed_ips::text[] as allowed_ips, null as expires_at_ms
    from users u join group_members m on m.user_id = u.id join groups g on g.id = m.group_id
    where lower(u.username) = any(${usernames.map((name) => name.toLowerCase())}::text[])
      and u.account_type = 'smtp'`;
}

/** Replaces the hash of an older installation, unless the password was changed meanwhile; any other stays. */
export async function renewSmtpPassword(
  sql: SystemSql,
  account: UserId,
  oldHash: string,
  newHash: string,
): Promise<void> {
  await sql`select renew_smtp_password(${account}, ${oldHash}, ${newHash})`;
}

/** An SMTP account with the key that it was found by. */
export interface SmtpAccountOfKey extends SmtpAccount {
  readonly keyId: string;
  readonly keyHash: Uint8Array;
}

/** The account that a batch of API keys, by their SHA-256, belongs to. */
export async function findSmtpAccountsByKey(
  sql: SystemSql,
  hashes: readonly Uint8Array[],
): Promise<readonly SmtpAccountOfKey[]> {
  return await sql<SmtpAccountOfKey>`
    select u.id as user, m.group_id as group, u.username, null as password_hash,
      u.status = 'active' and g.status = 'active' and k.revoked_at is null
        and (k.expires_at is null or k.expires_at > now()) and 'send' = any(k.scopes) as is_usable,
      u.revision::text as revision, g.allowed_ips::text[] as allowed_ips,
      (extract(epoch from k.expires_at) * 1000)::float8 as expires_at_ms, k.id as key_id, k.key_hash
    from api_keys k join users u on u.id = k.user_id
      join group_members m on m.user_id = u.id and m.group_id = k.group_id join groups g on g.id = m.group_id
    where k.key_hash = any(${
    hashes.map((hash) => `\\x${hash.toHex()}`)
  }::bytea[]) and u.account_type = 'smtp'`;
}

/** What an account may send now. */
export interface SmtpPolicy {
  readonly user: UserId;
  readonly revision: string;
  readonly isActive: boolean;
  /** As stored: whoever reads it decides what a corrupt list allows. */
  readonly allowedDomains: unknown;
  readonly groupDomains: unknown;
  readonly bareLineEndings: "refuse" | "repair" | null;
  /** CIDR texts of the group; null allows every address. */
  readonly allowedIps: readonly string[] | null;
  /** The group's limit, when this month's messages have reached it; a hint, the insert decides. */
  readonly reachedLimit: number | null;
}

/** The policies of a batch of accounts; accounts that are gone are missing. */
export async function readSmtpPolicies(
  sql: SystemSql,
  users: readonly UserId[],
): Promise<ReadonlyMap<UserId, SmtpPolicy>> {
  const rows = await sql<SmtpPolicy>`
    select u.id as user, u.revision::text as revision, u.status = 'active' and g.status = 'active' as is_active,
      u.allowed_domains, g.allowed_domains as group_domains, u.bare_line_endings,
      g.allowed_ips::text[] as allowed_ips,
      case when g.monthly_limit > 0 and coalesce(a.messages, 0) >= g.monthly_limit then g.monthly_limit end
        as reached_limit
    from users u join group_members m on m.user_id = u.id join groups g on g.id = m.group_id
      left join usage a on a.group_id = g.id
        and a.month = (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date
    where u.id = any(${users}::uuid[]) and u.account_type = 'smtp'`;
  return new Map(rows.map((row) => [row.user, row]));
}
