import { z } from "@hono/zod-openapi";
import { findKind } from "../../../lib/esp/catalog.ts";
import type { ProviderEntry } from "../../../lib/providers/provider_entries_table.ts";
import type { ProviderSecrets } from "../../../lib/providers/provider_secrets.ts";
import { timeOf } from "../schemas.ts";

/** A provider as it is answered: which secrets it has, never what they are. */
export const providerShape = z.object({
  id: z.string(),
  "group_id": z.string(),
  name: z.string(),
  "provider_type": z.string(),
  "smtp_config": z.record(z.string(), z.unknown()).meta({ description: "Settings that are no secrets" }),
  "secrets_set": z.array(z.string()).nullable().meta({
    description: "Names of the secrets that are kept; null when no key at hand opens them",
  }),
  enabled: z.boolean(),
  "paused_at": z.string().nullable().meta({ description: "Since when its mail waits" }),
  "operator_credentials": z.boolean().meta({ description: "It may act with the operator's own identity" }),
  "webhook_path": z.string().nullable().meta({
    description: "Where its service may report what became of mail",
  }),
  "needs_attention": z.object({ since: z.string(), code: z.string(), detail: z.string() }).nullable(),
  "created_at": z.string(),
  "updated_at": z.string(),
}).openapi("Provider");

/** A provider as it is answered; `secrets` are those that could be opened. */
export function providerOf(
  entry: ProviderEntry,
  secrets: ProviderSecrets | undefined,
): z.output<typeof providerShape> {
  const kind = findKind(entry.providerType);
  const since = timeOf(entry.needsAttentionSince);
  // What another release stored as a setting and this one knows as a secret is not shown either.
  const shown = Object.entries(entry.settings).filter(([name]) => kind?.secretKeys.includes(name) !== true);
  return {
    id: entry.id,
    "group_id": entry.groupId,
    name: entry.name,
    "provider_type": entry.providerType,
    "smtp_config": Object.fromEntries(shown),
    "secrets_set": secrets === undefined ? null : Object.keys(secrets).sort(),
    enabled: entry.enabled,
    "paused_at": timeOf(entry.pausedAt),
    "operator_credentials": entry.operatorCredentials,
    "webhook_path": kind?.webhook === undefined
      ? null
      : `/api/v1/webhooks/${entry.providerType}/${entry.webhookToken}`,
    "needs_attention": since === null
      ? null
      : { since, code: entry.faultCode ?? "", detail: entry.faultDetail ?? "" },
    "created_at": timeOf(entry.createdAt),
    "updated_at": timeOf(entry.updatedAt),
  };
}
