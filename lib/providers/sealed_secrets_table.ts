import type { GroupId, ProviderId } from "../ids.ts";
import type { GroupSql, SystemSql } from "../postgres/sql.ts";
import type { Sealed } from "../secrets/seal.ts";

/** How many providers' secrets are sealed with a key. */
export interface SealedCount {
  readonly keyId: string;
  readonly count: number;
}

/** Counts sealed secrets of all groups by the key that sealed them, in order of its id. */
export async function countSealed(sql: SystemSql): Promise<readonly SealedCount[]> {
  return await sql<SealedCount>`
    select key_id, count(*)::float8 as count from esp_providers where key_id is not null group by key_id order by key_id`;
}

/** Whether any group's secrets are sealed. */
export async function hasSealed(sql: SystemSql): Promise<boolean> {
  const [row] = await sql<{ there: boolean }>`
    select exists (select from esp_providers where key_id is not null) as there`;
  return row?.there ?? false;
}

/** A provider whose secrets are sealed with a certain key. */
export interface SealedOwner {
  readonly id: ProviderId;
  readonly groupId: GroupId;
}

/** A page of the providers that are sealed with one of these keys, in order of their ids, after the one given. */
export async function listSealedWith(
  sql: SystemSql,
  keyIds: readonly string[],
  after: ProviderId | undefined,
  limit: number,
): Promise<readonly SealedOwner[]> {
  return await sql<SealedOwner>`
    select id, group_id from esp_providers
    where key_id = any(${keyIds}::text[]) and (${after ?? null}::uuid is null or id > ${after ?? null}::uuid)
    order by id limit ${limit}`;
}

/** What is sealed of a group's providers; those that have no secrets are left out. */
export async function readSealed(
  sql: GroupSql,
  providers: readonly ProviderId[],
): Promise<ReadonlyMap<ProviderId, Sealed>> {
  const rows = await sql<{ id: ProviderId; secrets: Uint8Array<ArrayBuffer>; keyId: string }>`
    select id, secrets, key_id from esp_providers where id = any(${providers}::uuid[]) and secrets is not null`;
  return new Map(rows.map(({ id, secrets, keyId }) => [id, { keyId, bytes: secrets }]));
}

/** Puts one sealed form in the place of another; false, and nothing written, when the row holds another by now. */
export async function replaceSealed(
  sql: GroupSql,
  provider: ProviderId,
  before: Sealed,
  after: Sealed,
): Promise<boolean> {
  const rows = await sql`
    update esp_providers set secrets = ${after.bytes}, key_id = ${after.keyId}
    where id = ${provider} and key_id = ${before.keyId} and secrets = ${before.bytes} returning id`;
  return rows.length === 1;
}
