import type { Database } from "../postgres/database.ts";
import type { Secret } from "../config/secret.ts";
import type { Log } from "../telemetry/log_fields.ts";
import { openPostgresQueue } from "./postgres_queue.ts";
import type { Queue } from "./queue.ts";
import { openRedisQueue } from "./redis_queue.ts";

/** The values of the `queue.*` settings. */
export interface QueueSettings {
  readonly redisAddr: string;
  readonly redisUsername: string;
  readonly redisPassword: Secret;
  readonly redisDb: number;
  readonly redisTls: boolean;
  readonly redisCaFile: string;
  readonly streamName: string;
  readonly groupName: string;
  readonly lease: number;
}

/** What a queue may use of its process. */
export interface QueueSurroundings {
  readonly database: Database;
  readonly log: Log;
  /** Names a worker, the same after its restart; absent for processes that only push. */
  readonly consumer?: string;
}

/** Opens the queue in Redis when its address is set, else the one in PostgreSQL (ruling 1.4). */
export async function openQueue(settings: QueueSettings, around: QueueSurroundings): Promise<Queue> {
  if (settings.redisAddr === "") return openPostgresQueue({ database: around.database });
  const ca = settings.redisCaFile === "" ? undefined : await Deno.readTextFile(settings.redisCaFile);
  return await openRedisQueue({
    address: settings.redisAddr,
    database: settings.redisDb,
    tls: settings.redisTls,
    streamName: settings.streamName,
    groupName: settings.groupName,
    leaseMs: settings.lease,
    log: around.log,
    ...(settings.redisUsername !== "" && { username: settings.redisUsername }),
    ...(!settings.redisPassword.isEmpty && { password: settings.redisPassword.reveal() }),
    ...(ca !== undefined && { ca }),
    ...(around.consumer !== undefined && { consumer: around.consumer }),
  });
}
