import { findKind } from "../../lib/esp/catalog.ts";
import type { Config } from "../../lib/config/settings.ts";
import { holderOf } from "../../lib/messages/claims_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { answerTimeoutMs, espIoOf } from "../../lib/providers/esp_io.ts";
import type { Queue } from "../../lib/queue/queue.ts";
import type { SealingKey } from "../../lib/secrets/seal.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import { Bells } from "./bells.ts";
import { BodyMemory } from "./body_memory.ts";
import { CleanUp } from "./clean_up.ts";
import type { Crew, DeliveryTerms } from "./crew.ts";
import { Interrupted } from "./interrupted.ts";
import { KeptClaims } from "./keep_claims.ts";
import { OpenProviders, type OpenProvidersOptions } from "./open_providers.ts";
import { TimedStore } from "./timed_store.ts";
import { ProviderHealth } from "./provider_health.ts";
import { Records } from "./records.ts";
import { Slots } from "./slots.ts";

/** The parts a crew works with, and its settings. */
export interface CrewOptions {
  readonly database: Database;
  readonly store: Pick<MessageStore, "get">;
  readonly queue: Queue;
  readonly log: Log;
  readonly metrics: Metrics;
  /** This process's name among workers, and which of the processes of that name it is. */
  readonly name: string;
  readonly incarnation: string;
  /** Calls at a time. */
  readonly slots: number;
  readonly leaseMs: number;
  readonly memoryBytes: number;
  readonly terms: DeliveryTerms;
  readonly providers: Pick<
    OpenProvidersOptions,
    "findKind" | "io" | "keys" | "allowedRoles" | "withoutProvider"
  >;
}

/** A crew and the way to end it. */
export interface OpenedCrew extends Crew, AsyncDisposable {
  /** From now on nothing new begins: what has not called yet hands its message back. */
  drain(): void;
  /** Ends what still runs; what it was doing is settled by whoever comes after. */
  stop(): void;
}

/** What `bodyDelaysMs` is in operation (ruling 1.19). */
export const bodyDelaysMs = [1000, 2000, 4000] as const;

/** Opens everything deliveries share; it renews claims until it is disposed. */
export function openCrew(options: CrewOptions): OpenedCrew {
  const { database, store, queue, log, metrics, leaseMs, terms } = options;
  const draining = new AbortController();
  const stopped = new AbortController();
  const { batchSize } = metrics.process;
  const claims = new KeptClaims({
    sql: database.system,
    leaseMs,
    log,
    onLost: () => metrics.worker.claimsLost.add(),
    onBatch: (size) => batchSize.observe({ step: "renewals" }, size),
  });
  const holder = holderOf(options.name, options.incarnation);
  const records = new Records({ database, claims, holder, leaseMs, metrics, log });
  const health = new ProviderHealth({ sql: database.system, log, callTimeoutMs: terms.callTimeoutMs });
  const providers = new OpenProviders({
    ...options.providers,
    sql: database.system,
    onAttention: (marked) => health.remember(marked),
    log,
  });
  const slots = new Slots(options.slots);
  const expiry = setInterval(() => providers.expire(), 60_000);
  const cleanUp = new CleanUp({ providers, log });
  return {
    bells: new Bells(queue, log),
    records,
    claims,
    store: new TimedStore(store),
    sql: database.system,
    memory: new BodyMemory(options.memoryBytes),
    providers,
    health,
    slots,
    terms,
    log,
    metrics,
    draining: draining.signal,
    stopped: stopped.signal,
    drain() {
      draining.abort(new Interrupted("draining"));
      slots.close(new Interrupted("draining"));
    },
    stop() {
      stopped.abort(new Interrupted("stopped"));
      claims.abortAll();
    },
    async [Symbol.asyncDispose]() {
      clearInterval(expiry);
      await claims[Symbol.asyncDispose]();
      await cleanUp[Symbol.asyncDispose]();
      await providers[Symbol.asyncDispose]();
    },
  };
}

/** The crew's settings as they are configured. */
export function crewSettings(config: Config, keys: readonly SealingKey[]) {
  const { delivery, queue, worker } = config;
  const io = espIoOf(config);
  return {
    slots: queue.workers,
    leaseMs: queue.lease,
    memoryBytes: worker.bodyMemory,
    terms: {
      retryDelaysMs: delivery.retryDelays,
      maxAgeMs: delivery.maxAge,
      callTimeoutMs: delivery.callTimeout,
      answerTimeoutMs,
      bodyDelaysMs,
    },
    providers: {
      findKind,
      io,
      keys,
      allowedRoles: config.esp.allowedRoles,
      withoutProvider: delivery.withoutProvider,
    },
  } satisfies Partial<CrewOptions>;
}
