import { until } from "../../services/dev/processes.ts";
import { signalTree } from "../support/process_tree.ts";
import type { ServiceProcess } from "../support/service_process.ts";
import type { Stage } from "./stage.ts";

/** Something that goes wrong under load, and is put right again before it resolves. */
export interface Disturbance {
  readonly name: string;
  readonly queue: "postgres" | "redis";
  /** How Redis is set up, beyond the usual. */
  readonly redisConfig?: readonly string[];
  /** Workers that are killed by it: each may double as many mails as it makes calls at a time. */
  readonly workerKills: number;
  /** `lastMs` is how long that lasts which has a length. */
  act(stage: Stage, lastMs: number): Promise<void>;
}

/** A disturbance by its name. */
export function disturbanceOf(name: string): Disturbance {
  const found = disturbances.find((disturbance) => disturbance.name === name);
  if (found !== undefined) return found;
  throw new Error(`Cannot run drill ${name}: there are ${disturbances.map((one) => one.name).join(", ")}`);
}

/** Every single thing that may happen to the product. */
export const disturbances: readonly Disturbance[] = [
  plain("nothing", () => Promise.resolve()),
  plain("kill_smtp_server", ({ system }) => killAndStart(system.smtpServer)),
  { ...plain("kill_queue_worker", ({ system }) => killAndStart(system.queueWorker)), workerKills: 1 },
  plain("kill_postgres", async ({ system }, lastMs) => {
    await system.postgres.kill();
    await pause(lastMs / 10);
    await system.postgres.restart();
  }),
  {
    ...plain("kill_everything", async ({ system }, lastMs) => {
      await Promise.all([system.smtpServer.kill(), system.queueWorker.kill(), system.postgres.kill()]);
      await pause(lastMs / 10);
      await system.postgres.restart();
      await Promise.all([system.smtpServer.start(), system.queueWorker.start()]);
    }),
    workerKills: 1,
  },
  plain("pause_smtp_server", ({ system }, lastMs) => pauseTree(system.smtpServer.pid, lastMs)),
  plain("pause_queue_worker", ({ system }, lastMs) => pauseTree(system.queueWorker.pid, lastMs)),
  plain("pause_postgres", ({ system }, lastMs) => pauseTree(system.postgres.pid, lastMs)),
  plain("lose_doorbells", async ({ system, query }, lastMs) => {
    // Without a worker they gather.
    await signalTree(system.queueWorker.pid, "SIGSTOP");
    await pause(lastMs / 3);
    await query("delete from queue_entries; delete from queue_delayed");
    await signalTree(system.queueWorker.pid, "SIGCONT");
  }),
  plain("double_doorbells", async ({ query }) => {
    await query(
      `insert into queue_entries (group_id, message)
       select group_id, id from messages, generate_series(1, 2) where status in ('queued', 'processing')`,
    );
  }),
  plain("lose_body_store", ({ system }, lastMs) => replaceStore(system.folder, lastMs)),
  {
    // A worker that starts while the bodies are away has none of their files open.
    ...plain("lose_body_store_and_kill_worker", async ({ system }, lastMs) => {
      await system.queueWorker.kill();
      await Promise.all([system.queueWorker.start(), replaceStore(system.folder, lastMs)]);
    }),
    workerKills: 1,
  },
  plain("fill_disk", async ({ system }, lastMs) => {
    await system.smtpServer.stop();
    system.smtpServer.launch({ SMTP_PROXY_STORAGE_MIN_FREE: "1024TiB" });
    await pause(lastMs);
    await system.smtpServer.stop();
    await system.smtpServer.start();
  }),
  withRedis("kill_redis", async (stage, lastMs) => {
    await redisOf(stage).kill();
    await pause(lastMs / 10);
    await redisOf(stage).restart();
  }),
  {
    // Comes back with the doorbells of some time ago, and without those since.
    ...withRedis("set_redis_back", async (stage, lastMs) => {
      await redisOf(stage).command("SAVE");
      await signalTree(stage.system.queueWorker.pid, "SIGSTOP");
      await pause(lastMs / 3);
      await redisOf(stage).kill();
      await redisOf(stage).restart();
      await signalTree(stage.system.queueWorker.pid, "SIGCONT");
    }),
    redisConfig: ["appendonly no"],
  },
  withRedis("flush_redis", async (stage) => void await redisOf(stage).command("FLUSHALL")),
  withRedis("pause_redis", async (stage, lastMs) => {
    redisOf(stage).pause();
    await pause(lastMs);
    redisOf(stage).resume();
  }),
  {
    ...withRedis("kill_queue_worker_redis", ({ system }) => killAndStart(system.queueWorker)),
    workerKills: 1,
  },
];

function plain(name: string, act: Disturbance["act"]): Disturbance {
  return { name, queue: "postgres", workerKills: 0, act };
}

function withRedis(name: string, act: Disturbance["act"]): Disturbance {
  return { name, queue: "redis", workerKills: 0, act };
}

async function killAndStart(service: ServiceProcess): Promise<void> {
  await service.kill();
  await service.start();
}

async function pauseTree(pid: number, ms: number): Promise<void> {
  await signalTree(pid, "SIGSTOP");
  await pause(ms);
  await signalTree(pid, "SIGCONT");
}

/** First the folder is gone, then there is an empty one, as where nothing is mounted, then a file. */
async function replaceStore(folder: string, ms: number): Promise<void> {
  const [path, away] = [`${folder}/messages`, `${folder}/messages.away`];
  await Deno.rename(path, away);
  await pause(ms / 3);
  await Deno.mkdir(path);
  await pause(ms / 3);
  await Deno.remove(path, { recursive: true });
  await Deno.writeTextFile(path, "");
  await pause(ms / 3);
  await Deno.remove(path);
  await Deno.rename(away, path);
}

function redisOf({ redis }: Stage) {
  if (redis === undefined) throw new Error("Cannot disturb Redis: the stage has none");
  return redis;
}

async function pause(ms: number): Promise<void> {
  await until(() => false, ms);
}
