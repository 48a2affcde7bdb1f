import { z } from "@hono/zod-openapi";
import { lockGroups } from "../../../lib/groups/member_entries_table.ts";
import { findKind } from "../../../lib/esp/catalog.ts";
import { newId, type ProviderId } from "../../../lib/ids.ts";
import type { GroupSql } from "../../../lib/postgres/sql.ts";
import { endpointObstacle } from "../../../lib/providers/endpoint_rule.ts";
import { credentialsObstacle, usesOperatorCredentials } from "../../../lib/providers/operator_credentials.ts";
import {
  areSameSettings,
  type KeptSettings,
  maxProviders,
  type ProviderBody,
  providerBody,
  type ProviderSettings,
  settingsOf,
} from "../../../lib/providers/provider_body.ts";
import {
  countProviders,
  deleteProvider,
  findProviderEntry,
  listProviderEntries,
  lockProvider,
  pauseProvider,
  type ProviderEntry,
  rotateWebhookToken,
} from "../../../lib/providers/provider_entries_table.ts";
import { openSecrets, type ProviderSecrets, sealSecrets } from "../../../lib/providers/provider_secrets.ts";
import { allowOperatorCredentials, putProvider } from "../../../lib/providers/providers_table.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { isOperator } from "../access/principal.ts";
import { changesBetween, maskedChange } from "../../../lib/activity/changes.ts";
import { type Operation, operation } from "../operation.ts";
import { type Asking, asOperator, findingInGroup, inGroup, type Parts, readingGroup } from "../parts.ts";
import { idOf, linkNext, nextCursor, page, pageOf } from "../schemas.ts";
import { providerOf, providerShape } from "./provider_shapes.ts";

const params = z.object({ id: idOf("provider") });
const tag = "providers";
const resourceType = "provider";

/** A group's accounts with email services. */
export function providerOperations(parts: Parts): readonly Operation[] {
  return [
    create(parts),
    list(parts),
    get(parts),
    update(parts),
    remove(parts),
    pause(parts, true),
    pause(parts, false),
    rotateWebhook(parts),
  ];
}

/** A provider of the principal's group; throws Refusal("not_found"). */
export async function getProvider(sql: GroupSql, { principal }: Asking, id: string): Promise<ProviderEntry> {
  const entry = await findProviderEntry(sql, principal.group, id as ProviderId);
  if (entry === undefined) throw new Refusal("not_found", "provider not found");
  return entry;
}

/** The secrets of a provider; undefined when no key at hand opens them. */
export async function secretsOf(parts: Parts, entry: ProviderEntry): Promise<ProviderSecrets | undefined> {
  return await openSecrets(entry, await parts.providers.keys() ?? []);
}

async function answerOf(parts: Parts, entry: ProviderEntry): Promise<z.output<typeof providerShape>> {
  return providerOf(entry, await secretsOf(parts, entry));
}

function list(parts: Parts): Operation {
  return operation({
    action: "providers:read",
    method: "get",
    path: "/api/v1/providers",
    tag,
    summary: "List the providers of your group, newest first",
    query: page,
    answer: { status: 200, schema: z.array(providerShape) },
    handle: async ({ query, setHeader, raw, ...asking }) => {
      const wanted = pageOf("providers", query);
      const { group } = asking.principal;
      const found = await listProviderEntries(readingGroup(parts, group), group, wanted);
      linkNext({ setHeader, raw }, nextCursor("providers", found, wanted.limit));
      return await Promise.all(found.map((entry) => answerOf(parts, entry)));
    },
  });
}

function get(parts: Parts): Operation {
  return operation({
    action: "providers:read",
    method: "get",
    path: "/api/v1/providers/{id}",
    tag,
    summary: "Get a provider",
    params,
    answer: { status: 200, schema: providerShape },
    handle: async ({ params, ...asking }) =>
      await answerOf(
        parts,
        await getProvider(findingInGroup(parts, asking.principal.group), asking, params.id),
      ),
  });
}

function create(parts: Parts): Operation {
  return operation({
    action: "providers:write",
    method: "post",
    path: "/api/v1/providers",
    tag,
    summary: "Create a provider",
    description: "Its settings are those of its type. What is a secret is sealed and never answered.",
    body: providerBody,
    answer: { status: 201, schema: providerShape },
    handle: async ({ body, ...asking }) => {
      const { group } = asking.principal;
      const id = newId<ProviderId>();
      const asked = settingsOf(body, undefined);
      requireAllowed(parts, asking, asked, undefined);
      const sealed = await sealedOf(parts, asking, id, asked);
      const made = await inGroup(parts, asking, async (sql, note) => {
        await lockGroups(sql, [group]);
        if (await countProviders(sql, group) >= maxProviders) {
          throw new Refusal("too_many", `the group has ${maxProviders} providers: remove one first`);
        }
        await putProvider(sql, { id, groupId: group, ...rowOf(body, asked, true), ...sealed });
        const changes = { name: body.name, "provider_type": asked.kind.name, "smtp_config": asked.settings };
        await note({ action: "provider.create", resourceType, resourceId: id, changes });
        return await getProvider(sql, asking, id);
      });
      return await finish(parts, asking, made);
    },
  });
}

function update(parts: Parts): Operation {
  return operation({
    action: "providers:write",
    method: "put",
    path: "/api/v1/providers/{id}",
    tag,
    summary: "Replace a provider; secrets, smtp_config and enabled stay when they are left out",
    description:
      "Secrets are given anew (400 `secret_required`) when it changes whom they are sent to: the host, port, TLS " +
      "or endpoint.",
    params,
    body: providerBody,
    answer: { status: 200, schema: providerShape },
    handle: async ({ params, body, ...asking }) => {
      const { group } = asking.principal;
      const id = params.id as ProviderId;
      const changed = await inGroup(parts, asking, async (sql, note) => {
        await lockProvider(sql, group, id);
        const before = await getProvider(sql, asking, id);
        const kept = await keptOf(parts, before, body);
        const asked = settingsOf(body, kept);
        requireAllowed(parts, asking, asked, kept === undefined ? undefined : before);
        const sealed = await sealedOf(parts, asking, id, asked);
        await putProvider(sql, { id, groupId: group, ...rowOf(body, asked, before.enabled), ...sealed });
        const after = await getProvider(sql, asking, id);
        const changes = {
          ...changesBetween(providerOf(before, kept?.secrets), providerOf(after, asked.secrets)),
          ...(areSameSettings(kept?.secrets ?? {}, asked.secrets) ? {} : { secrets: maskedChange }),
        };
        await note({ action: "provider.update", resourceType, resourceId: id, changes });
        return after;
      });
      return await finish(parts, asking, changed);
    },
  });
}

function remove(parts: Parts): Operation {
  return operation({
    action: "providers:write",
    method: "delete",
    path: "/api/v1/providers/{id}",
    tag,
    summary: "Remove a provider, also from the routing rules that name it",
    params,
    handle: async ({ params, ...asking }) => {
      await inGroup(parts, asking, async (sql, note) => {
        const before = await getProvider(sql, asking, params.id);
        if (!await deleteProvider(sql, before.groupId, before.id)) {
          throw new Refusal("not_found", "provider not found");
        }
        const changes = { name: before.name, "provider_type": before.providerType };
        await note({ action: "provider.delete", resourceType, resourceId: before.id, changes });
      });
    },
  });
}

function pause(parts: Parts, isPaused: boolean): Operation {
  const verb = isPaused ? "pause" : "resume";
  return operation({
    action: "providers:write",
    method: "post",
    path: `/api/v1/providers/{id}/${verb}`,
    tag,
    summary: isPaused ? "Let a provider rest: its mail waits" : "Let a provider that rested send again",
    params,
    answer: { status: 200, schema: providerShape },
    handle: async ({ params, ...asking }) => {
      const entry = await inGroup(parts, asking, async (sql, note) => {
        const before = await getProvider(sql, asking, params.id);
        if ((before.pausedAt !== null) === isPaused) return before;
        await pauseProvider(sql, before.groupId, before.id, isPaused);
        const changes = { name: before.name };
        await note({ action: `provider.${verb}`, resourceType, resourceId: before.id, changes });
        return await getProvider(sql, asking, before.id);
      });
      return await answerOf(parts, entry);
    },
  });
}

function rotateWebhook(parts: Parts): Operation {
  return operation({
    action: "providers:write",
    method: "post",
    path: "/api/v1/providers/{id}/rotate-webhook",
    tag,
    summary: "Give a provider another webhook_path",
    description: "Reports to the one before are refused from then on: tell the service the new one.",
    params,
    answer: { status: 200, schema: providerShape },
    handle: async ({ params, ...asking }) => {
      const entry = await inGroup(parts, asking, async (sql, note) => {
        const before = await getProvider(sql, asking, params.id);
        if (findKind(before.providerType)?.webhook === undefined) {
          throw new Refusal("conflict", `a provider of type ${before.providerType} has no webhook`);
        }
        await rotateWebhookToken(sql, before.groupId, before.id);
        const changes = { name: before.name, "webhook_token": maskedChange };
        await note({ action: "provider.rotate_webhook", resourceType, resourceId: before.id, changes });
        return await getProvider(sql, asking, before.id);
      });
      return await answerOf(parts, entry);
    },
  });
}

function rowOf(body: ProviderBody, { kind, settings }: ProviderSettings, enabled: boolean) {
  return { name: body.name, providerType: kind.name, settings, enabled: body.enabled ?? enabled };
}

async function sealedOf(parts: Parts, { principal }: Asking, id: ProviderId, { secrets }: ProviderSettings) {
  const keys = await parts.providers.keys();
  if (keys === undefined && Object.keys(secrets).length > 0) {
    throw new Refusal("secrets_unreadable", "no secret can be kept: the server has no secrets.keys");
  }
  return await sealSecrets(principal.group, id, secrets, keys);
}

/** What a body leaves out stays; of a provider of another type, or whose secrets cannot be opened, nothing does. */
async function keptOf(
  parts: Parts,
  entry: ProviderEntry,
  body: ProviderBody,
): Promise<KeptSettings | undefined> {
  if (entry.providerType !== body.provider_type) return undefined;
  const secrets = await secretsOf(parts, entry);
  if (secrets === undefined) {
    throw new Refusal("secrets_unreadable", "the provider's secrets cannot be opened with the keys at hand");
  }
  return { settings: entry.settings, secrets };
}

/** What only system administrators may set stays allowed where they set it (ruling 3.14). */
function requireAllowed(
  { providers }: Parts,
  { principal }: Asking,
  { settings }: ProviderSettings,
  before: ProviderEntry | undefined,
): void {
  if (isOperator(principal)) return;
  const isAsBefore = before !== undefined && areSameSettings(before.settings, settings);
  const isSameEndpoint = before !== undefined && before.settings["endpoint"] === settings["endpoint"];
  const endpoint = isSameEndpoint ? undefined : endpointObstacle(settings, providers.allowedEndpoints);
  if (endpoint !== undefined) {
    throw new Refusal("setting_not_allowed", endpoint, { field: "smtp_config.endpoint" });
  }
  const operatorCredentials = isAsBefore && before.operatorCredentials;
  const obstacle = credentialsObstacle({ settings, operatorCredentials }, providers.allowedRoles);
  if (obstacle === undefined) return;
  throw new Refusal("setting_not_allowed", obstacle, { field: "smtp_config.credentials" });
}

/** The leave to use the operator's credentials is the operators' alone to give, in a transaction of their role. */
async function finish(
  parts: Parts,
  asking: Asking,
  entry: ProviderEntry,
): Promise<z.output<typeof providerShape>> {
  const { id, settings, version } = entry;
  if (!isOperator(asking.principal) || !usesOperatorCredentials(settings)) {
    return await answerOf(parts, entry);
  }
  await asOperator(parts, asking, async (sql, note) => {
    if (!await allowOperatorCredentials(sql, id, true, version)) {
      throw new Refusal(
        "conflict",
        "the provider was changed at the same time: its credentials were not allowed",
      );
    }
    await note({ action: "provider.allow_credentials", resourceType, resourceId: id });
  });
  return await answerOf(parts, await inGroup(parts, asking, (sql) => getProvider(sql, asking, id)));
}
