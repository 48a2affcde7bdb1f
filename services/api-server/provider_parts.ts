import { SnsCertificates } from "../../lib/aws/sns_certificates.ts";
import type { Config } from "../../lib/config/settings.ts";
import type { EspIo } from "../../lib/esp/esp.ts";
import type { WebhookIo } from "../../lib/esp/webhook.ts";
import { espIoOf } from "../../lib/providers/esp_io.ts";
import { parseKeys, type SealingKeys } from "../../lib/secrets/seal.ts";

/** The settings that providers go by. */
export type ProviderConfig = Pick<Config, "esp" | "delivery" | "environment" | "secrets" | "api">;

/** What serving providers and the reports of their services takes. */
export interface ProviderParts {
  /** Undefined where no key was given. */
  readonly keys: () => Promise<SealingKeys | undefined>;
  readonly io: EspIo;
  readonly webhookIo: WebhookIo;
  /** Origins that groups may name in `endpoint`. */
  readonly allowedEndpoints: readonly string[];
  /** Cloud roles that groups may take on with the operator's identity (ruling 3.14). */
  readonly allowedRoles: readonly string[];
  /** Longest test of a provider, in milliseconds: its answer must still be in time. */
  readonly testTimeoutMs: number;
}

/** Makes the parts; a test gives a world of its own. */
export function providerParts(config: ProviderConfig, io: EspIo = espIoOf(config)): ProviderParts {
  const testTimeoutMs = Math.max(500, Math.min(config.delivery.callTimeout, config.api.writeTimeout - 1000));
  const certificates = new SnsCertificates({ fetch: io.fetch, now: io.now });
  let keys: Promise<SealingKeys | undefined> | undefined;
  return {
    keys: () => keys ??= parseKeys(config.secrets.keys.reveal()),
    io: { ...io, callTimeoutMs: Math.min(io.callTimeoutMs, testTimeoutMs), answerTimeoutMs: testTimeoutMs },
    webhookIo: { now: io.now, snsKey: (url) => certificates.key(url) },
    allowedEndpoints: config.esp.allowedEndpoints,
    allowedRoles: config.esp.allowedRoles,
    testTimeoutMs,
  };
}
