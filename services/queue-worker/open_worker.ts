import { processWorld } from "../../lib/aws/credentials_world.ts";
import { createCredentials } from "../../lib/aws/open_credentials.ts";
import type { Config } from "../../lib/config/settings.ts";
import { ensurePartitions, keepPartitions } from "../../lib/messages/partitions_table.ts";
import { awaitSchema } from "../../lib/postgres/await_schema.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { requireKeys } from "../../lib/providers/require_keys.ts";
import { openWatchedDatabase } from "../../lib/telemetry/watched_database.ts";
import { openQueue } from "../../lib/queue/open_queue.ts";
import type { Queue } from "../../lib/queue/queue.ts";
import { sleepFor } from "../../lib/retry.ts";
import { parseKeys } from "../../lib/secrets/seal.ts";
import type { RoomyStore } from "../../lib/store/local_store.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { s3OptionsOf } from "../../lib/store/s3_settings.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import { watchStoreSpace } from "../../lib/telemetry/store_metrics.ts";
import { deliver } from "./deliver.ts";
import { setGauges } from "./gauges.ts";
import { crewSettings, openCrew, type OpenedCrew } from "./open_crew.ts";
import { goneMs, Presence, takeName } from "./presence.ts";
import { Retention, retentionTerms } from "./retention.ts";
import { Sweeper } from "./sweep.ts";
import { Worker } from "./worker.ts";

/** The process's surroundings. */
export interface Surroundings {
  readonly log: Log;
  readonly metrics: Metrics;
  /** The name that this process has in common with those before and after it. */
  readonly name: string;
  /** Whether a port proves that no other process has the name; otherwise a lock in the database has to. */
  readonly hasOwnPort: boolean;
  /** Ends the waiting for what is not there yet. */
  readonly signal: AbortSignal;
}

/** A worker at work; disposing drains it. */
export interface RunningWorker extends AsyncDisposable {
  /** The parts that keep it from delivering just now. */
  whatIsDown(): Promise<readonly string[]>;
}

/** Messages in hand for each call that may be in progress, so that calls never wait for the database. */
const handsPerSlot = 6;

/** Opens database, store, queue, crew, worker and sweeper; undefined when the process is told to stop first. */
export async function openWorker(config: Config, around: Surroundings): Promise<RunningWorker | undefined> {
  await using opened = new AsyncDisposableStack();
  const { log, metrics, signal } = around;
  const database = opened.use(
    openWatchedDatabase(config.database, {
      service: "queue-worker",
      role: "smtp_proxy_worker",
      log,
      metrics,
    }),
  );
  const development = config.environment === "development";
  if (!await awaitSchema(database, { development, log, signal })) return undefined;
  const keys = await parseKeys(config.secrets.keys.reveal()) ?? [];
  await requireKeys(database.system, { hasKeys: keys.length > 0, development, log });
  await ensurePartitions(database.system);
  opened.use(keepPartitions(database.system, (error) => log.error("partitions not made", { error })));
  const { path, minFree, type } = config.storage;
  const instance = `worker-${config.instance}`;
  // A worker that made the folder would take every body for gone that lies where it should have been mounted.
  const local = { path, instance, minFree, mustExist: true };
  const s3 = s3OptionsOf(config.storage, {
    fetch,
    now: () => new Date(),
    credentials: createCredentials(processWorld),
  });
  const store = opened.use(await openStore({ type, ...local, ...s3 && { s3 } }));
  const incarnation = crypto.randomUUID();
  const lock = around.hasOwnPort ? undefined : await takeName(database, around.name, signal);
  if (lock !== undefined) opened.use(lock);
  const isNamed = around.hasOwnPort || lock !== undefined;
  if (!isNamed) log.warn("another process has this worker's name", { part: around.name });
  const name = isNamed ? around.name : `unnamed:${incarnation}`;
  const consumer = config.queue.consumerId || name;
  const queue = opened.use(await openQueue(config.queue, { database, log, consumer }));
  const crew = opened.use(openCrew({
    ...crewSettings(config, keys),
    database,
    store,
    queue,
    log,
    metrics,
    name,
    incarnation,
  }));
  const sweeper = opened.use(
    new Sweeper({ database, queue, log, metrics, sweepAfterMs: config.queue.sweepAfter }),
  );
  const onRemoved = (count: number, reason: "retention" | "orphans") =>
    metrics.worker.bodiesRemoved.add({ reason }, count);
  const onWeeksKept = (count: number | undefined) =>
    count === undefined ? metrics.worker.weeksKept.clear() : metrics.worker.weeksKept.set(count);
  opened.use(new Retention({ database, store, log, terms: retentionTerms(config), onRemoved, onWeeksKept }));
  const { memory, health } = crew;
  setGauges(metrics, { database, memory, health, isCounting: () => sweeper.isSweeping });
  if (type === "local") watchStoreSpace(metrics, path);
  if (isNamed) {
    const watchMs = around.hasOwnPort ? 0 : goneMs;
    const onFreed = () => sweeper.hurry();
    opened.use(new Presence({ sql: database.system, name, incarnation, watchMs, log, onFreed }));
  }
  const worker = new Worker({
    queue,
    ...takingSettings(config.queue),
    run: (lease) => deliver(lease, crew),
    log,
  });
  opened.defer(() => drain(worker, crew, config.worker.shutdownTimeout, log));
  const stack = opened.move();
  return {
    whatIsDown: () => whatIsDown({ database, queue, store }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** Finishes what runs, hands back the rest; what is not done in time is stopped and left to its lease. */
async function drain(worker: Worker, crew: OpenedCrew, timeoutMs: number, log: Log): Promise<void> {
  const cut = new AbortController();
  crew.drain();
  const drained = worker.drain().then(() => cut.abort());
  await sleepFor(timeoutMs, cut.signal);
  if (cut.signal.aborted) return;
  log.warn("deliveries stopped before they were done", { count: worker.inHand });
  crew.stop();
  await drained;
}

/** The parts that do not answer; room in the store is no matter of the worker's. */
export async function whatIsDown({ database, queue, store }: WorkerParts): Promise<readonly string[]> {
  const asked = await Promise.allSettled([database.system`select 1`, queue.ping(), store.checkThere()]);
  return ["database", "queue", "storage"].filter((_, index) => asked[index]?.status === "rejected");
}

interface WorkerParts {
  readonly database: Database;
  readonly queue: Queue;
  readonly store: Pick<RoomyStore, "checkThere">;
}

/** How the worker takes messages, as it is configured. */
export function takingSettings({ workers, blockTimeout }: Pick<Config["queue"], "workers" | "blockTimeout">) {
  return { hands: workers * handsPerSlot, blockMs: blockTimeout };
}
