import { type GroupId, lastId, type ProviderId } from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";
import type { StoredProvider } from "./providers_table.ts";

/** A provider as it is listed. */
export interface ProviderEntry extends Omit<StoredProvider, "paused"> {
  /** Since when its mail waits; null when it does not. */
  readonly pausedAt: Date | null;
  /** Names it in the path that its service reports to. */
  readonly webhookToken: string;
  /** Since when somebody has to repair it, and what is wrong; null when nobody has to. */
  readonly needsAttentionSince: Date | null;
  readonly faultCode: string | null;
  readonly faultDetail: string | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Another one after every change of its settings. */
  readonly version: string;
}

/** A page of a group's providers, newest first. */
export async function listProviderEntries(
  sql: GroupSql,
  group: GroupId,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly ProviderEntry[]> {
  return await sql<ProviderEntry>`
    select p.id, p.group_id, p.name, p.provider_type, p.settings, p.secrets, p.key_id, p.enabled,
      p.operator_credentials, p.paused_at, p.webhook_token, p.created_at, p.updated_at, p.updated_at::text as version, s.needs_attention_since,
      s.fault_code, s.fault_detail
    from esp_providers p left join provider_state s on s.provider_id = p.id and s.needs_attention_since is not null
    where p.group_id = ${group} and p.id < ${page.after ?? lastId}
    order by p.id desc limit ${page.limit}`;
}

/** One provider of a group. */
export async function findProviderEntry(
  sql: GroupSql,
  group: GroupId,
  id: ProviderId,
): Promise<ProviderEntry | undefined> {
  const [entry] = await sql<ProviderEntry>`
    select p.id, p.group_id, p.name, p.provider_type, p.settings, p.secrets, p.key_id, p.enabled,
      p.operator_credentials, p.paused_at, p.webhook_token, p.created_at, p.updated_at, p.updated_at::text as version, s.needs_attention_since,
      s.fault_code, s.fault_detail
    from esp_providers p left join provider_state s on s.provider_id = p.id and s.needs_attention_since is not null
    where p.group_id = ${group} and p.id = ${id}`;
  return entry;
}

/** How many providers a group has; certain while the group is locked. */
export async function countProviders(sql: GroupSql, group: GroupId): Promise<number> {
  const [row] = await sql<{ count: number }>`
    select count(*)::float8 as count from esp_providers where group_id = ${group}`;
  return row?.count ?? 0;
}

/** Holds a provider until the transaction ends; false when the group has none of that id. */
export async function lockProvider(sql: GroupSql, group: GroupId, id: ProviderId): Promise<boolean> {
  const rows = await sql`
    select id from esp_providers where group_id = ${group} and id = ${id} for no key update`;
  return rows.length === 1;
}

/** Lets a provider rest, or no longer; false when the group has none of that id. */
export async function pauseProvider(
  sql: GroupSql,
  group: GroupId,
  id: ProviderId,
  isPaused: boolean,
): Promise<boolean> {
  const rows = await sql`
    update esp_providers set updated_at = now(),
      paused_at = case when ${isPaused} then coalesce(paused_at, now()) end
    where group_id = ${group} and id = ${id} returning id`;
  return rows.length === 1;
}

/** Gives a provider another path for reports: those to the one before are refused. False when the group has none. */
export async function rotateWebhookToken(sql: GroupSql, group: GroupId, id: ProviderId): Promise<boolean> {
  const rows = await sql`
    update esp_providers set webhook_token = gen_random_uuid(), updated_at = now()
    where group_id = ${group} and id = ${id} returning id`;
  return rows.length === 1;
}

/** Removes a provider from its group and from the rules that name it; false when the group has none of that id. */
export async function deleteProvider(sql: GroupSql, group: GroupId, id: ProviderId): Promise<boolean> {
  const rows = await sql`delete from esp_providers where group_id = ${group} and id = ${id} returning id`;
  return rows.length === 1;
}
