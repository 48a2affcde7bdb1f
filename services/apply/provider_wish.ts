import { findKind } from "../../lib/esp/catalog.ts";
import { type ProviderBody, type ProviderSettings, settingsOf } from "../../lib/providers/provider_body.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { FoundSecret } from "./references.ts";

/** A provider as it is to be: its settings and secrets as a whole, as the file says. */
export interface ProviderWish extends ProviderSettings {
  readonly name: string;
  /** Stays when it is not given; a new one is enabled. */
  readonly enabled: boolean | undefined;
}

/**
 * A provider of a file with its secrets in the place of their names, valid for its kind; undefined when it is not, of
 * which `tell` is told everything, each with the field.
 */
export function readProvider(
  given: ProviderBody,
  find: (text: string) => FoundSecret,
  tell: (sentence: string) => void,
): ProviderWish | undefined {
  const secretKeys = findKind(given.provider_type)?.secretKeys ?? [];
  let isWhole = true;
  const found = (value: unknown, field: string): unknown => {
    if (typeof value === "object" && value !== null) {
      const entries = Object.entries(value).map(([key, inner]) => [key, found(inner, `${field}.${key}`)]);
      return Array.isArray(value) ? entries.map(([, inner]) => inner) : Object.fromEntries(entries);
    }
    if (value === null) return value;
    const secret = find(String(value));
    if ("secret" in secret) return secret.secret;
    isWhole = false;
    tell(`${field}: ${secret.mistake}`);
    return value;
  };
  const { api_key: apiKey, smtp_config: config = {}, ...rest } = given;
  const settings = Object.entries(config).map(([key, value]) => [
    key,
    secretKeys.includes(key) ? found(value, `smtp_config.${key}`) : value,
  ]);
  const body: ProviderBody = {
    ...rest,
    "smtp_config": Object.fromEntries(settings),
    ...apiKey !== undefined && { "api_key": found(apiKey, "api_key") as string | null },
  };
  if (!isWhole) return undefined;
  try {
    return { ...settingsOf(body, undefined), name: given.name, enabled: given.enabled };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    for (const sentence of error.options.details ?? [error.message]) tell(sentence);
    return undefined;
  }
}
