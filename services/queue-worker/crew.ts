import type { MessageStore } from "../../lib/store/message_store.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import type { Bells } from "./bells.ts";
import type { BodyMemory } from "./body_memory.ts";
import type { Terms } from "./judge.ts";
import type { KeptClaims } from "./keep_claims.ts";
import type { OpenProviders } from "./open_providers.ts";
import type { ProviderHealth } from "./provider_health.ts";
import type { Records } from "./records.ts";
import type { Slots } from "./slots.ts";

/** Everything deliveries share. */
export interface Crew {
  readonly bells: Bells;
  readonly records: Records;
  readonly claims: KeptClaims;
  readonly store: Pick<MessageStore, "get">;
  /** For bodies that are inline. */
  readonly sql: SystemSql;
  readonly memory: BodyMemory;
  readonly providers: OpenProviders;
  readonly health: ProviderHealth;
  /** One for each call in progress, from just before it until its end is committed. */
  readonly slots: Slots;
  readonly terms: DeliveryTerms;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Aborted when nothing new may begin: what has not called yet hands back. */
  readonly draining: AbortSignal;
  /** Aborted when the process cannot wait any longer. */
  readonly stopped: AbortSignal;
}

/** The settings that deliveries follow. */
export interface DeliveryTerms extends Terms {
  readonly callTimeoutMs: number;
  /** How much longer the answer to a message that was handed over may take. */
  readonly answerTimeoutMs: number;
  /** Waits before a body that could not be read is read again. */
  readonly bodyDelaysMs: readonly number[];
}
