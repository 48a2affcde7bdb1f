import { join } from "node:path";
import { processWorld } from "../../lib/aws/credentials_world.ts";
import { createCredentials } from "../../lib/aws/open_credentials.ts";
import type { Config } from "../../lib/config/settings.ts";
import { ensurePartitions, keepPartitions } from "../../lib/messages/partitions_table.ts";
import { awaitSchema } from "../../lib/postgres/await_schema.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { openWatchedDatabase } from "../../lib/telemetry/watched_database.ts";
import { openQueue } from "../../lib/queue/open_queue.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { s3OptionsOf } from "../../lib/store/s3_settings.ts";
import { openSpool } from "../../lib/store/spool.ts";
import { spoolFolder } from "../../lib/store/spool_folder.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import { accept } from "./accept.ts";
import { awayReason, isStoreAway, storeMark } from "./body_folder.ts";
import { enqueue } from "./enqueue.ts";
import { GroupMemory } from "./group_memory.ts";
import type { Intake } from "./intake.ts";
import { QueueGate } from "./queue_gate.ts";
import { recordMessage } from "./record_message.ts";
import { Resubmissions } from "./resubmissions.ts";
import { refuseWhenFull, storeBody } from "./store_body.ts";

/** The process's surroundings. */
export interface Surroundings {
  readonly log: Log;
  readonly metrics: Metrics;
  /** Ends the waiting for what is not there yet. */
  readonly signal: AbortSignal;
}

/** The intake with everything it stands on. */
export interface OpenIntake extends Intake, AsyncDisposable {
  readonly database: Database;
  /** The parts that keep it from accepting mail just now. */
  whatIsDown(): Promise<readonly string[]>;
}

const memoryWaitMs = 60_000;

/** Opens database, store, spool and queue, in this order; undefined when the process is told to stop first. */
export async function openIntake(config: Config, around: Surroundings): Promise<OpenIntake | undefined> {
  await using opened = new AsyncDisposableStack();
  const { log, metrics } = around;
  const { smtp, storage } = config;
  const database = opened.use(
    openWatchedDatabase(config.database, {
      service: "smtp-server",
      role: "smtp_proxy_intake",
      log,
      metrics,
      // Clients wait for each: before they give up they are to be told to come again.
      statementTimeoutMs: 10_000,
    }),
  );
  const development = config.environment === "development";
  if (!await awaitSchema(database, { development, log, signal: around.signal })) return undefined;
  await ensurePartitions(database.system);
  opened.use(keepPartitions(database.system, (error) => log.error("partitions not made", { error })));
  const s3 = s3OptionsOf(storage, {
    fetch,
    now: () => new Date(),
    credentials: createCredentials(processWorld),
  });
  const isAway = storage.type === "local" && await isStoreAway(database, storage.path);
  if (isAway) {
    log.error("body store is not there", { file: join(storage.path, storeMark), reason: awayReason });
  }
  const store = opened.use(
    await openStore({
      type: storage.type,
      // A new one in its place would take what the real one has for gone.
      mustExist: isAway,
      ...s3 && { s3 },
      path: storage.path,
      instance: String(config.instance),
      minFree: storage.minFree,
      onBatch: (size) => metrics.process.batchSize.observe({ step: "bodies" }, size),
    }),
  );
  const spool = opened.use(
    await openSpool({ directory: spoolFolder(storage.path), memoryLimit: smtp.memoryBody }),
  );
  const queue = opened.use(await openQueue(config.queue, { database, log }));
  const gate = opened.use(new QueueGate(queue, { onChange: (isDown) => tellQueue(log, isDown) }));
  const memory = new GroupMemory(smtp.bodyMemory);
  metrics.onScrape(() => metrics.smtp.bodyMemory.set(memory.used));
  const parts = {
    storeBody: storeBody({
      store,
      putTimeoutMs: storage.putTimeout,
      inlineLimit: storage.inlineLimit,
      onStoreDown: (error) => {
        metrics.smtp.inlineBodies.add();
        log.error("body store down", { error });
      },
    }),
    record: recordMessage({
      database,
      resubmissionWindowMs: smtp.resubmissionWindow,
      ...(queue.rowBells && { bells: queue.rowBells }),
      onRing: () => metrics.queue.enqueued.add(),
      onBatch: (size) => metrics.process.batchSize.observe({ step: "messages" }, size),
      onDoubt: (count) => log.warn("commit in doubt", { count }),
      onResubmission: (kind) => metrics.smtp.resubmissions.add({ kind }),
    }),
    enqueue: enqueue({
      queue,
      database,
      onResult: (rang) => rang ? metrics.queue.enqueued.add() : gate.close(),
      onBatch: (size) => metrics.process.batchSize.observe({ step: "doorbells" }, size),
    }),
    resubmissions: new Resubmissions(smtp.resubmissionWindow),
  };
  const stack = opened.move();
  return {
    database,
    async ready() {
      gate.check();
      await refuseWhenFull(store);
    },
    reserveMemory: (maxSize, signal, group) =>
      memory.reserve(group, spool.memoryFor(maxSize), memoryWaitMs, signal),
    begin: (label, prefix) => spool.begin(label, prefix),
    accept: (submission) => accept(submission, parts),
    whatIsDown: () => whatIsDown({ database, store, gate }),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function tellQueue(log: Log, isDown: boolean): void {
  if (isDown) log.error("queue down");
  else log.info("queue back");
}

async function whatIsDown(
  parts: { database: Database; store: { checkRoom(): Promise<void> }; gate: QueueGate },
): Promise<readonly string[]> {
  const answers = await Promise.allSettled([parts.database.system`select 1`, parts.store.checkRoom()]);
  const names = ["database", "storage"];
  const down = names.filter((_, index) => answers[index]?.status === "rejected");
  return parts.gate.isDown ? [...down, "queue"] : down;
}
