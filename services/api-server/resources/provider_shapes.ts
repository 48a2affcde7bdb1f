import { z } from "@hono/zod-openapi";
import { isDeepStrictEqual } from "node:util";
import { espKinds, findKind } from "../../../lib/esp/catalog.ts";
import { accountSecrets } from "../../../lib/esp/account_settings.ts";
import type { EspKind } from "../../../lib/esp/esp.ts";
import type { ProviderEntry } from "../../../lib/providers/provider_entries_table.ts";
import type { ProviderSecrets } from "../../../lib/providers/provider_secrets.ts";
import { Refusal } from "../../../lib/refusal.ts";
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

/** A provider as it is given, on POST and PUT. */
export const providerBody = z.strictObject({
  name: z.string({ error: "name is required" }).trim().min(1, "name is required").max(255),
  "provider_type": z.enum(espKinds.map(({ name }) => name), { error: "invalid provider_type" }),
  "api_key": z.string().max(10_000).nullish().meta({
    description: "Kept when it is left out; null removes it",
  }),
  "smtp_config": z.record(z.string().max(100), z.unknown()).optional().meta({
    description:
      "Settings of the provider's type; secrets among them are kept when they are left out, null removes",
  }),
  enabled: z.boolean().optional(),
});

/** What a provider is to be. */
export type ProviderBody = z.output<typeof providerBody>;

/** Settings with the secrets apart, valid for their kind. */
export interface ProviderSettings {
  readonly kind: EspKind<unknown>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: ProviderSecrets;
}

/** What is there already, of the same type; its secrets are kept where the body names none. */
export interface KeptSettings {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: ProviderSecrets;
}

/** Settings as a body gives them, over those that are kept; throws Refusal("request_invalid") with the field. */
export function settingsOf(body: ProviderBody, kept: KeptSettings | undefined): ProviderSettings {
  const kind = kindOf(body.provider_type);
  const given: Record<string, unknown> = { ...body.smtp_config ?? kept?.settings };
  if (body.api_key !== undefined) given["api_key"] = body.api_key;
  const secrets: Record<string, unknown> = {};
  const left = kind.secretKeys.filter((name) => !Object.hasOwn(given, name));
  for (const name of kind.secretKeys) {
    const value = Object.hasOwn(given, name) ? given[name] : kept?.secrets[name];
    if (value !== undefined && value !== null) secrets[name] = value;
    delete given[name];
  }
  const checked = kind.settings.safeParse({ ...given, ...secrets });
  if (!checked.success) throw invalid(checked.error);
  if (kept !== undefined) refuseOtherTarget(kind, kept, checked.data, left);
  return { kind, settings: given, secrets };
}

/** What somebody gave for one server is not sent to another, or less safely, by somebody who need not know it. */
function refuseOtherTarget(
  kind: EspKind<unknown>,
  kept: KeptSettings,
  wanted: unknown,
  left: readonly string[],
): void {
  const secret = left.find((name) => Object.hasOwn(kept.secrets, name) && !isOfReports(name));
  if (secret === undefined) return;
  const before = kind.settings.safeParse({ ...kept.settings, ...kept.secrets }).data ?? kept.settings;
  const target = kind.targetKeys.find((key) =>
    !areSameSettings([valueOf(before, key)], [valueOf(wanted, key)])
  );
  if (target === undefined) return;
  const field = fieldOf(secret);
  throw new Refusal("secret_required", `${field} must be given anew, because smtp_config.${target} changes`, {
    field,
  });
}

/** The keys of reports are compared with here, and sent to nobody. */
function isOfReports(secret: string): boolean {
  return (accountSecrets as readonly string[]).includes(secret);
}

function valueOf(settings: unknown, key: string): unknown {
  return (settings as Readonly<Record<string, unknown>>)[key];
}

function fieldOf(first: string, ...rest: readonly string[]): string {
  return first === "api_key"
    ? first
    : ["smtp_config", first, ...rest].filter((part) => part !== "").join(".");
}

function kindOf(name: string): EspKind<unknown> {
  const kind = findKind(name);
  if (kind === undefined) {
    throw new Refusal("request_invalid", "invalid provider_type", { field: "provider_type" });
  }
  return kind;
}

function invalid({ issues }: z.core.$ZodError): Refusal {
  const faults = issues.slice(0, 20).map((issue) => {
    const [first = "", ...rest] = issue.code === "unrecognized_keys" ? issue.keys : issue.path.map(String);
    const field = issue.code === "unrecognized_keys" ? fieldOf(first) : fieldOf(first, ...rest);
    return { field, message: issue.message };
  });
  const [fault] = faults;
  const details = faults.map(({ field, message }) => `${field}: ${message}`);
  return new Refusal("request_invalid", details[0] ?? "smtp_config is not valid", {
    details,
    ...(fault === undefined ? {} : { field: fault.field }),
  });
}

/** Whether two settings are the same, in whatever order they are written. */
export function areSameSettings(a: unknown, b: unknown): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
}

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
