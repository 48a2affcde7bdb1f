import type { GroupId, ProviderId } from "../ids.ts";
import type { GroupSql, SystemSql } from "../postgres/sql.ts";
import { storable } from "../storable.ts";

/** One configured provider as it is stored: its secrets still sealed. */
export interface StoredProvider {
  readonly id: ProviderId;
  readonly groupId: GroupId;
  readonly name: string;
  readonly providerType: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: Uint8Array | null;
  readonly keyId: string | null;
  readonly enabled: boolean;
  /** Whether a system administrator lets it use the operator's own cloud identity, with just these settings. */
  readonly operatorCredentials: boolean;
  /** It rests: its mail waits until somebody resumes it. */
  readonly paused: boolean;
}

/** A group's providers, oldest first, disabled ones included, with the group's revision they belong to. */
export async function listProviders(
  sql: SystemSql | GroupSql,
  group: GroupId,
): Promise<{ readonly revision: number; readonly providers: readonly StoredProvider[] }> {
  const rows = await sql<
    { revision: number; provider: StoredProviderRow | null; secrets: Uint8Array | null }
  >`
    select g.revision, case when p.id is not null then
        jsonb_build_object('id', p.id, 'name', p.name, 'type', p.provider_type, 'settings', p.settings,
          'keyId', p.key_id, 'enabled', p.enabled, 'operatorCredentials', p.operator_credentials,
          'paused', p.paused_at is not null) end as provider, p.secrets
    from groups g left join esp_providers p on p.group_id = g.id
    where g.id = ${group} order by p.created_at, p.id`;
  const providers = rows.flatMap(({ provider, secrets }) =>
    provider === null ? [] : [{
      id: provider.id,
      groupId: group,
      name: provider.name,
      providerType: provider.type,
      settings: provider.settings,
      secrets,
      keyId: provider.keyId,
      enabled: provider.enabled,
      operatorCredentials: provider.operatorCredentials,
      paused: provider.paused,
    }]
  );
  return { revision: rows[0]?.revision ?? 0, providers };
}

interface StoredProviderRow {
  readonly id: ProviderId;
  readonly name: string;
  readonly type: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly keyId: string | null;
  readonly enabled: boolean;
  readonly operatorCredentials: boolean;
  readonly paused: boolean;
}

/**
 * Creates a provider, or replaces everything but the id of the one that has its id. Other settings than before take
 * the leave to use the operator's credentials away.
 */
export async function putProvider(
  sql: SystemSql | GroupSql,
  provider: Omit<StoredProvider, "operatorCredentials" | "paused">,
): Promise<void> {
  await sql`
    insert into esp_providers (id, group_id, name, provider_type, settings, secrets, key_id, enabled)
    values (${provider.id}, ${provider.groupId}, ${provider.name}, ${provider.providerType},
      ${
    JSON.stringify(provider.settings)
  }::jsonb, ${provider.secrets}, ${provider.keyId}, ${provider.enabled})
    on conflict (id) do update set name = excluded.name, provider_type = excluded.provider_type,
      settings = excluded.settings, secrets = excluded.secrets, key_id = excluded.key_id, enabled = excluded.enabled, updated_at = now()`;
}

/**
 * Lets a provider use the operator's own cloud identity, or no longer; only system administrators may (ruling 3.14).
 * With a version (`ProviderEntry`) it is for the provider as it was then: false when somebody has changed it since.
 */
export async function allowOperatorCredentials(
  sql: SystemSql,
  provider: ProviderId,
  isAllowed: boolean,
  version?: string,
): Promise<boolean> {
  const rows = await sql`
    update esp_providers set operator_credentials = ${isAllowed} where id = ${provider}
      and (${version ?? null}::timestamptz is null or updated_at = ${
    version ?? null
  }::timestamptz) returning id`;
  return rows.length === 1;
}

/** The id of the group's oldest provider of a name. */
export async function findProviderByName(
  sql: SystemSql | GroupSql,
  group: GroupId,
  name: string,
): Promise<ProviderId | undefined> {
  const [row] = await sql<{ id: ProviderId }>`
    select id from esp_providers where group_id = ${group} and name = ${name} order by created_at limit 1`;
  return row?.id;
}

/**
 * Marks a provider that refused its credentials or configuration (ruling 3.4) and, the first time, tells it in the
 * group's activity. Answers whether it was in order before.
 */
export async function markNeedsAttention(
  sql: SystemSql,
  provider: { readonly id: ProviderId; readonly group: GroupId },
  fault: { readonly code: string; readonly detail: string },
): Promise<boolean> {
  const detail = storable(fault.detail, 600);
  const rows = await sql<{ first: boolean }>`
    with marked as (
      insert into provider_state (provider_id, group_id, needs_attention_since, next_probe_at, fault_code, fault_detail)
      values (${provider.id}, ${provider.group}, clock_timestamp(), clock_timestamp() + interval '1 minute',
        ${fault.code}, ${detail})
      on conflict (provider_id) do update set
        needs_attention_since = coalesce(provider_state.needs_attention_since, excluded.needs_attention_since),
        next_probe_at = coalesce(provider_state.next_probe_at, excluded.next_probe_at),
        fault_code = excluded.fault_code, fault_detail = excluded.fault_detail, updated_at = clock_timestamp()
      returning old.needs_attention_since is null as first
    ), told as (
      insert into activity_logs (group_id, action, resource_type, resource_id, comment)
      select ${provider.group}, 'provider.needs_attention', 'provider', ${provider.id}, ${detail}
      from marked where first
    )
    select first from marked`;
  return rows[0]?.first ?? false;
}

/** Takes the mark away after a call that worked. */
export async function clearAttention(sql: SystemSql, provider: ProviderId): Promise<void> {
  await sql`
    update provider_state set needs_attention_since = null, next_probe_at = null, updated_at = clock_timestamp()
    where provider_id = ${provider} and needs_attention_since is not null`;
}

/** Whether a provider that needed attention may be called: it is in order again, or this is the one probe. */
export type ProbeAnswer = "in_order" | "probe" | "not_now";

/** Asks to send one message by way of probe to a provider that needs attention: one caller in each `gapMs` may. */
export async function takeProbe(sql: SystemSql, provider: ProviderId, gapMs: number): Promise<ProbeAnswer> {
  const rows = await sql<{ taken: boolean; marked: boolean }>`
    with probe as (
      update provider_state set next_probe_at = clock_timestamp() + make_interval(secs => ${gapMs} / 1000.0)
      where provider_id = ${provider} and needs_attention_since is not null
        and (next_probe_at is null or next_probe_at <= clock_timestamp())
      returning provider_id
    )
    select exists (select from probe) as taken, exists (
      select from provider_state where provider_id = ${provider} and needs_attention_since is not null) as marked`;
  if (rows[0]?.taken) return "probe";
  return rows[0]?.marked ? "not_now" : "in_order";
}

/** Whether a provider that needs attention has had its probe of late, so that nobody may call it now. */
export async function isProbeTaken(sql: SystemSql, provider: ProviderId): Promise<boolean> {
  const rows = await sql<{ taken: boolean }>`
    select next_probe_at > clock_timestamp() as taken from provider_state
    where provider_id = ${provider} and needs_attention_since is not null`;
  return rows[0]?.taken ?? false;
}

/** The providers of a group that need attention. */
export async function listNeedingAttention(sql: SystemSql, group: GroupId): Promise<readonly ProviderId[]> {
  const rows = await sql<{ providerId: ProviderId }>`
    select provider_id from provider_state where group_id = ${group} and needs_attention_since is not null`;
  return rows.map((row) => row.providerId);
}
