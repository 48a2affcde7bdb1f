import { changesBetween, maskedChange } from "../../lib/activity/changes.ts";
import { type GroupId, newId, type ProviderId } from "../../lib/ids.ts";
import type { GroupSql, SystemSql } from "../../lib/postgres/sql.ts";
import { usesOperatorCredentials } from "../../lib/providers/operator_credentials.ts";
import { areSameSettings, maxProviders } from "../../lib/providers/provider_body.ts";
import {
  countProviders,
  deleteProvider,
  listProviderEntries,
  type ProviderEntry,
} from "../../lib/providers/provider_entries_table.ts";
import { openSecrets, sealSecrets } from "../../lib/providers/provider_secrets.ts";
import { allowOperatorCredentials, putProvider } from "../../lib/providers/providers_table.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { Job } from "./job.ts";
import type { ProviderWish } from "./provider_wish.ts";

/** The group's providers by their names. */
export type ProvidersByName = ReadonlyMap<string, Known>;

/** A provider, and whether it may act with the operator's identity. */
export interface Known {
  readonly id: ProviderId;
  readonly hasCredentials: boolean;
}

/** Makes the group's providers what they are to be; answers all that it has then. */
export async function applyProviders(
  job: Job,
  sql: GroupSql,
  wishes: readonly ProviderWish[],
): Promise<ProvidersByName> {
  const known = new Map<string, Known>();
  const entries = await entriesOf(sql, job.group.id);
  for (const { name, id, operatorCredentials } of entries) {
    if (known.has(name)) {
      throw new Refusal("conflict", `the group has two providers called ${name}: rename one`);
    }
    known.set(name, { id, hasCredentials: operatorCredentials });
  }
  for (const wish of wishes) {
    const before = entries.find(({ name }) => name === wish.name);
    if (before === undefined) known.set(wish.name, await create(job, sql, wish));
    else if (await update(job, sql, before, wish)) {
      known.set(wish.name, { id: before.id, hasCredentials: false });
    }
  }
  return known;
}

/** Removes what the list does not name, where that is asked for. */
export async function pruneProviders(
  { world, group, ledger }: Job,
  sql: GroupSql,
  wishes: readonly ProviderWish[] | undefined,
): Promise<void> {
  if (wishes === undefined || !world.mayPrune) return;
  for (const { id, name, providerType } of await entriesOf(sql, group.id)) {
    if (wishes.some((wish) => wish.name === name)) continue;
    await deleteProvider(sql, group.id, id);
    const changes = { name, "provider_type": providerType };
    await ledger.note(sql, {
      action: "provider.delete",
      resourceType: "provider",
      resourceId: id,
      name,
      changes,
    });
  }
}

/** Whoever applies a file is the operator, so a provider may use the operator's credentials where its settings say so. */
export async function allowCredentials(
  { ledger }: Job,
  sql: SystemSql,
  wishes: readonly ProviderWish[],
  known: ProvidersByName,
): Promise<void> {
  for (const { name, settings } of wishes) {
    const provider = known.get(name);
    if (provider === undefined || provider.hasCredentials || !usesOperatorCredentials(settings)) continue;
    await allowOperatorCredentials(sql, provider.id, true);
    await ledger.note(sql, {
      action: "provider.allow_credentials",
      resourceType: "provider",
      resourceId: provider.id,
      name,
      changes: {},
    });
  }
}

function entriesOf(sql: GroupSql, group: GroupId): Promise<readonly ProviderEntry[]> {
  return listProviderEntries(sql, group, { limit: 10 * maxProviders });
}

async function create({ world, group, ledger }: Job, sql: GroupSql, wish: ProviderWish): Promise<Known> {
  if (await countProviders(sql, group.id) >= maxProviders) {
    throw new Refusal("too_many", `the group has ${maxProviders} providers: remove one first`);
  }
  const id = newId<ProviderId>();
  const { name, kind, settings, enabled = true } = wish;
  const sealed = await sealSecrets(group.id, id, wish.secrets, world.keys);
  await putProvider(sql, {
    id,
    groupId: group.id,
    name,
    providerType: kind.name,
    settings,
    enabled,
    ...sealed,
  });
  const changes = { name, "provider_type": kind.name, "smtp_config": settings };
  await ledger.note(sql, {
    action: "provider.create",
    resourceType: "provider",
    resourceId: id,
    name,
    changes,
  });
  return { id, hasCredentials: false };
}

/** Answers whether its settings were others: then the leave to use the operator's credentials is gone. */
async function update(
  { world, group, ledger }: Job,
  sql: GroupSql,
  before: ProviderEntry,
  wish: ProviderWish,
): Promise<boolean> {
  const { id, name } = before;
  const { kind, settings, secrets, enabled = before.enabled } = wish;
  const kept = await openSecrets(before, world.keys ?? []);
  const hasOtherSecrets = kept === undefined || !areSameSettings(kept, secrets);
  const hasOtherSettings = before.providerType !== kind.name || !areSameSettings(before.settings, settings);
  if (!hasOtherSecrets && !hasOtherSettings && before.enabled === enabled) return false;
  // What is sealed with a key that is not at hand was changed or is not: sealed anew it is as the file says.
  const sealed = hasOtherSecrets ? await sealSecrets(group.id, id, secrets, world.keys) : before;
  await putProvider(sql, {
    id,
    groupId: group.id,
    name,
    providerType: kind.name,
    settings,
    enabled,
    secrets: sealed.secrets,
    keyId: sealed.keyId,
  });
  const shown = Object.entries(before.settings).filter(([key]) => !kind.secretKeys.includes(key));
  const changes = {
    ...hasOtherSettings && changesBetween(
      { "provider_type": before.providerType, "smtp_config": Object.fromEntries(shown) },
      { "provider_type": kind.name, "smtp_config": settings },
    ),
    ...changesBetween({ enabled: before.enabled }, { enabled }),
    ...hasOtherSecrets && { secrets: maskedChange },
  };
  await ledger.note(sql, {
    action: "provider.update",
    resourceType: "provider",
    resourceId: id,
    name,
    changes,
  });
  return hasOtherSettings;
}
