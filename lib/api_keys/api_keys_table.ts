import { type GroupId, lastId, type UserId } from "../ids.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";

/** A key as a request needs it. */
export interface LiveKey {
  readonly id: string;
  readonly keyHash: Uint8Array;
  readonly userId: UserId;
  readonly groupId: GroupId;
  readonly email: string;
  readonly groupType: "system" | "company";
  readonly scopes: readonly string[];
  /** The account and its group are active. */
  readonly isActive: boolean;
  /** Its last use was written down more than a minute ago. */
  readonly isStale: boolean;
}

/** The keys in force of a batch of SHA-256 hashes. For the login role. */
export async function findApiKeys(
  sql: SystemSql,
  hashes: readonly Uint8Array[],
): Promise<readonly LiveKey[]> {
  const texts = hashes.map((hash) => `\\x${hash.toHex()}`);
  return await sql<LiveKey>`select * from find_api_keys(${texts}::bytea[])`;
}

/** Writes down that keys were used now. For the login role and smtp-server's. */
export async function useApiKeys(sql: SystemSql, ids: readonly string[]): Promise<void> {
  await sql`select use_api_keys(${ids}::uuid[])`;
}

/** A key as it is listed; the key itself is nowhere. */
export interface ApiKeyEntry {
  readonly id: string;
  readonly userId: UserId;
  readonly name: string;
  readonly prefix: string;
  readonly scopes: readonly string[];
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  readonly lastUsedAt: Date | null;
  readonly createdAt: Date;
}

/** A page of the keys of a group's account, newest first. */
export async function listApiKeys(
  sql: GroupSql,
  group: GroupId,
  user: UserId,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly ApiKeyEntry[]> {
  return await sql<ApiKeyEntry>`
    select id, user_id, name, prefix, scopes, expires_at, revoked_at, last_used_at, created_at from api_keys
    where group_id = ${group} and user_id = ${user}
      and id < ${page.after ?? lastId}
    order by id desc limit ${page.limit}`;
}

/** A key to be stored: its prefix and its SHA-256. */
export interface NewApiKey {
  readonly id: string;
  readonly group: GroupId;
  readonly user: UserId;
  readonly name: string;
  readonly prefix: string;
  readonly hash: Uint8Array;
  readonly scopes: readonly string[];
  readonly expiresAt: Date | undefined;
  readonly createdBy: UserId;
}

/** Stores a key unless the account has `most` that are in force, however many try at once; answers the entry. */
export async function insertApiKey(
  sql: GroupSql | SystemSql,
  key: NewApiKey,
  most: number,
): Promise<ApiKeyEntry | undefined> {
  await (sql as Sql)`
    select id from group_members where group_id = ${key.group} and user_id = ${key.user} for no key update`;
  const [entry] = await (sql as Sql)<ApiKeyEntry>`
    insert into api_keys (id, group_id, user_id, name, prefix, key_hash, scopes, expires_at, created_by)
    select ${key.id}, ${key.group}, ${key.user}, ${key.name}, ${key.prefix}, ${`\\x${key.hash.toHex()}`}::bytea,
      ${key.scopes}::text[], ${key.expiresAt ?? null}, ${key.createdBy}
    where (select count(*) from api_keys k where k.group_id = ${key.group} and k.user_id = ${key.user}
      and k.revoked_at is null and (k.expires_at is null or k.expires_at > now())) < ${most}
    returning id, user_id, name, prefix, scopes, expires_at, revoked_at, last_used_at, created_at`;
  return entry;
}

/** Revokes a key; answers it when it was in force. */
export async function revokeApiKey(
  sql: GroupSql,
  group: GroupId,
  user: UserId,
  id: string,
): Promise<ApiKeyEntry | undefined> {
  const [entry] = await sql<ApiKeyEntry>`
    update api_keys set revoked_at = now()
    where group_id = ${group} and user_id = ${user} and id = ${id} and revoked_at is null
    returning id, user_id, name, prefix, scopes, expires_at, revoked_at, last_used_at, created_at`;
  return entry;
}

/** Removes a portion of the keys that were revoked or had ended before a moment, in milliseconds since 1970. */
export async function purgeKeys(sql: SystemSql, beforeMs: number, portion: number): Promise<number> {
  const rows = await sql`
    delete from api_keys where id = any(array(
      select id from api_keys where least(revoked_at, expires_at) < ${new Date(beforeMs)}
      order by least(revoked_at, expires_at) limit ${portion}))
    returning id`;
  return rows.length;
}
