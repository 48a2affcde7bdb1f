import { findKind } from "../../lib/esp/catalog.ts";

/** A provider as somebody describes it: what is sealed apart from what may be shown. */
export interface ProviderRequest {
  readonly name: string;
  readonly providerType: string;
  readonly enabled: boolean;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, unknown>>;
}

/**
 * Reads a provider as `POST /providers` takes it (ruling 1.2): name, provider_type, smtp_config, api_key, enabled.
 * Throws a sentence that shows no secret when it is not one.
 */
export function parseProvider(json: string): ProviderRequest {
  const { name, provider_type: type, smtp_config: config, api_key: apiKey, enabled, ...rest } = readObject(
    json,
  );
  const unknown = Object.keys(rest)[0];
  if (unknown !== undefined) throw new Error(`Cannot read the provider: there is no field "${unknown}"`);
  if (typeof name !== "string" || name.length < 1 || name.length > 255) {
    throw new Error("Cannot read the provider: name is not a text of 1 to 255 characters");
  }
  if (enabled !== undefined && typeof enabled !== "boolean") {
    throw new Error("Cannot read the provider: enabled is neither true nor false");
  }
  if (config !== undefined && !isObject(config)) {
    throw new Error("Cannot read the provider: smtp_config is not an object");
  }
  const kind = typeof type === "string" ? findKind(type) : undefined;
  if (kind === undefined) {
    throw new Error(`Cannot read the provider: there is no provider_type ${JSON.stringify(type)}`);
  }
  const given = { ...config, ...(apiKey === undefined ? {} : { api_key: apiKey }) };
  const checked = kind.settings.safeParse(given);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const place = issue?.path.join(".") || "smtp_config";
    throw new Error(`Cannot read the provider: ${place}: ${issue?.message}`);
  }
  const entries = Object.entries(given);
  return {
    name,
    providerType: kind.name,
    enabled: enabled ?? true,
    settings: Object.fromEntries(entries.filter(([key]) => !kind.secretKeys.includes(key))),
    secrets: Object.fromEntries(entries.filter(([key]) => kind.secretKeys.includes(key))),
  };
}

function readObject(json: string): Record<string, unknown> {
  let content: unknown;
  try {
    content = JSON.parse(json);
  } catch (cause) {
    throw new Error("Cannot read the provider: it is not JSON", { cause });
  }
  if (!isObject(content)) throw new Error("Cannot read the provider: it is not a JSON object");
  return content;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
