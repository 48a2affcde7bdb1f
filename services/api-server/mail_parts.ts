import { processWorld } from "../../lib/aws/credentials_world.ts";
import { createCredentials } from "../../lib/aws/open_credentials.ts";
import type { Config } from "../../lib/config/settings.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { openQueue } from "../../lib/queue/open_queue.ts";
import type { Doorbell, Queue } from "../../lib/queue/queue.ts";
import { Refusal } from "../../lib/refusal.ts";
import type { Body } from "../../lib/store/body.ts";
import type { RoomyStore } from "../../lib/store/local_store.ts";
import { openStore } from "../../lib/store/open_store.ts";
import { s3OptionsOf } from "../../lib/store/s3_settings.ts";
import { isAbsence } from "../../lib/store/segment_reader.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";

/** What the API does with mail outside the database. */
export interface MailParts extends AsyncDisposable {
  /** Undefined when the body is gone or damaged; throws Refusal("body_store_down") while the store is down. */
  readBody(ref: StorageRef): Promise<Body | undefined>;
  /**
   * Rings for messages that were put back into the queue. Never throws, and waits two seconds at most for a queue that
   * does not answer: what did not ring is found by the sweeper.
   */
  ring(bells: readonly Doorbell[]): Promise<void>;
  /**
   * Which of `queue` and `storage` do not answer within two seconds. A folder that this process has never seen counts
   * as there: nobody has stored anything yet.
   */
  whatIsDown(): Promise<readonly string[]>;
}

/** The settings that say where bodies and doorbells are. */
export type MailConfig = Pick<Config, "storage" | "queue" | "instance">;

/** Who is told, and the pool in the role that may ring: `smtp_proxy_admin`. */
export interface MailSurroundings {
  readonly database: Database;
  readonly log: Log;
}

/** The parts as the settings say; store and queue are opened when they are first needed, and again after a failure. */
export function mailParts(config: MailConfig, { database, log }: MailSurroundings): MailParts {
  const { path, minFree, type } = config.storage;
  const s3 = s3OptionsOf(config.storage, {
    fetch,
    now: () => new Date(),
    credentials: createCredentials(processWorld),
  });
  const instance = `api-${config.instance}`;
  return mailPartsOf({
    // It only reads: a folder that is not there is a store that is down.
    store: () => openStore({ type, path, minFree, instance, mustExist: true, ...s3 && { s3 } }),
    queue: () => openQueue(config.queue, { database, log }),
    onFault: (error) => log.warn("no doorbell rang", { error }),
  });
}

/** How a store and a queue are opened. */
export interface MailOpeners {
  readonly store: () => Promise<Pick<RoomyStore, "get" | "checkThere"> & AsyncDisposable>;
  readonly queue: () => Promise<Queue>;
  /** Told when doorbells did not ring. */
  readonly onFault: (error: unknown) => void;
  /** Longest wait for a queue or a store that does not answer; 2,000 ms when not given. */
  readonly waitMs?: number;
}

/** The parts of a store and a queue. */
export function mailPartsOf({ store, queue, onFault, waitMs = 2000 }: MailOpeners): MailParts {
  const opened = new AsyncDisposableStack();
  const running = new Set<Promise<void>>();
  let wasThere = false;
  const openedStore = once(async () => opened.use(await store()));
  const openedQueue = once(async () => opened.use(await queue()));
  return {
    async readBody(ref) {
      try {
        return await (await openedStore()).get(ref);
      } catch (cause) {
        throw new Refusal("body_store_down", "the store of bodies cannot be reached", { cause });
      }
    },
    async ring(bells) {
      if (bells.length === 0) return;
      const ringing = push(bells).finally(() => void running.delete(ringing));
      running.add(ringing);
      await atMost(ringing, waitMs);
    },
    async whatIsDown() {
      const asked = [ask(async () => await (await openedQueue()).ping()), ask(checkStore)];
      const isThere = await Promise.all(asked.map((asking) => isDoneIn(asking, waitMs)));
      return ["queue", "storage"].filter((_, index) => isThere[index] !== true);
    },
    async [Symbol.asyncDispose]() {
      // A queue ends what waits for it when it is closed.
      await opened.disposeAsync();
      await Promise.all(running);
    },
  };

  /** A question that its asker may give up, and that nobody closes the parts over. */
  function ask(question: () => Promise<void>): Promise<void> {
    const asking = question().finally(() => void running.delete(told));
    const told = asking.catch(() => undefined);
    running.add(told);
    return asking;
  }

  async function checkStore(): Promise<void> {
    try {
      await (await openedStore()).checkThere();
      wasThere = true;
    } catch (error) {
      if (wasThere || !isAbsence(error)) throw error;
    }
  }

  async function push(bells: readonly Doorbell[]): Promise<void> {
    try {
      const results = await (await openedQueue()).push(bells);
      const failed = results.find((result) => !result.ok);
      if (failed !== undefined && !failed.ok) onFault(failed.error);
    } catch (error) {
      onFault(error);
    }
  }
}

async function atMost(work: Promise<void>, ms: number): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, ms);
  await Promise.race([work, late.promise]);
  clearTimeout(timer);
}

/** Whether work ends well, and in time. */
async function isDoneIn(work: Promise<void>, ms: number): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), ms);
  const isDone = await Promise.race([work.then(() => true, () => false), late.promise]);
  clearTimeout(timer);
  return isDone;
}

/** One opening serves all who ask, unless it failed: then the next one asks anew. */
function once<T>(open: () => Promise<T>): () => Promise<T> {
  let opening: Promise<T> | undefined;
  return () => {
    opening ??= open().catch((error) => {
      opening = undefined;
      throw error;
    });
    return opening;
  };
}
