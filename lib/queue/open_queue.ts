import type { Secret } from "../config/secret.ts";
import type { Database } from "../postgres/database.ts";
import type { Log } from "../telemetry/log_fields.ts";
import { openPostgresQueue } from "./postgres_queue.ts";
import type { Queue } from "./queue.ts";
import { openRedisQueue } from "./redis_queue.ts";

/** The `queue.*` settings that say which queue it is and where. */
export interface QueueSettings {
  /** `host:port`; empty is the queue in PostgreSQL (ruling 1.4). */
  readonly redisAddr: string;
  readonly redisUsername: string;
  readonly redisPassword: Secret;
  readonly redisDb: number;
  readonly redisTls: boolean;
  /** PEM file of the authorities to trust; empty is the system's. */
  readonly redisCaFile: string;
  readonly streamName: string;
  readonly groupName: string;
  /** Milliseconds. */
  readonly lease: number;
}

/** What the queue is opened with besides its settings. */
export interface QueueSurroundings {
  readonly database: Database;
  readonly log: Log;
  /** Names a worker among all workers, the same after a restart; only who reserves needs one. */
  readonly consumer?: string;
}

/**
 * Opens Redis when an address is set, else PostgreSQL. Throws when Redis refuses the login, its certificate is not
 * trusted or the CA file cannot be read; a server that is down is waited for by the queue itself.
 */
export async function openQueue(settings: QueueSettings, around: QueueSurroundings): Promise<Queue> {
  if (settings.redisAddr === "") return openPostgresQueue({ database: around.database });
  const { redisUsername, redisPassword, redisCaFile } = settings;
  return await openRedisQueue({
    address: settings.redisAddr,
    ...(redisUsername === "" ? {} : { username: redisUsername }),
    ...(redisPassword.isEmpty ? {} : { password: redisPassword.reveal() }),
    database: settings.redisDb,
    tls: settings.redisTls,
    ...(redisCaFile === "" ? {} : { ca: await Deno.readTextFile(redisCaFile) }),
    streamName: settings.streamName,
    groupName: settings.groupName,
    leaseMs: settings.lease,
    log: around.log,
    ...(around.consumer === undefined ? {} : { consumer: around.consumer }),
  });
}
