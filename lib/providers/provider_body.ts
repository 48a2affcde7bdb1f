import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import { accountSecrets } from "../esp/account_settings.ts";
import { espKinds, findKind } from "../esp/catalog.ts";
import type { EspKind } from "../esp/esp.ts";
import { Refusal } from "../refusal.ts";
import type { ProviderSecrets } from "./provider_secrets.ts";

/** Providers of one group: a worker opens all of them. */
export const maxProviders = 100;

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
