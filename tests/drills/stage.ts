import { openSession } from "../../lib/postgres/database.ts";
import { startChild } from "../bench/child.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { type ServiceName, type TestSystem, withServices } from "../support/spawn_services.ts";
import type { LoadProcess } from "./load_process.ts";
import { judgeDelivery, recipientKey, type SunkMail, type Verdict } from "./verdict.ts";

/** What a drill wants of the product. */
export interface StageOptions {
  readonly queue: "postgres" | "redis";
  /** Lines for Redis beyond those that make it about as durable as its users have it. */
  readonly redisConfig?: readonly string[];
  readonly start?: readonly ServiceName[];
  readonly env?: Readonly<Record<string, string>>;
}

/** The product as processes, what receives its mail, and what may be done to them. */
export interface Stage {
  readonly system: TestSystem;
  /** With the Redis queue alone. */
  readonly redis?: TestRedis;
  /** Takes the lists of clients. */
  readonly folder: string;
  /** Mails the sink has taken so far. */
  taken(): Promise<number>;
  /** Runs a statement as the superuser. */
  query(statement: string): Promise<readonly Record<string, unknown>[]>;
  /** Waits until no message is unfinished, at most so long; answers whether that is so. */
  settled(limitMs: number): Promise<boolean>;
  /** Compares what a client was told with what the sink took. */
  verdict(load: LoadProcess): Promise<Verdict>;
}

/** Starts the product, with a sink as the dev group's provider, and takes all of it away afterwards. */
export async function withStage(options: StageOptions, work: (stage: Stage) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_drill_" });
  await using opened = new AsyncDisposableStack();
  opened.defer(() => Deno.remove(folder, { recursive: true }));
  const report = `${folder}/sunk`;
  await Deno.writeTextFile(report, "");
  const sink = opened.use(await startChild("../support/smtp_sink.ts", ["--report-file", report]));
  const redis = options.queue === "redis"
    ? opened.use(await startRedis({ config: ["appendfsync everysec", ...options.redisConfig ?? []] }))
    : undefined;
  const smtpConfig = { host: "127.0.0.1", port: sink.port, tls: "none" };
  await withServices({
    env: {
      SMTP_PROXY_ESP_ALLOWED_PORTS: String(sink.port),
      SMTP_PROXY_STORAGE_MIN_FREE: "1",
      ...redis && { SMTP_PROXY_QUEUE_REDIS_ADDR: redis.address },
      ...options.env,
    },
    provider: { name: "sink", "provider_type": "smtp", "smtp_config": smtpConfig },
    start: options.start ?? ["smtpServer", "queueWorker"],
  }, async (system) => {
    const query = async (statement: string) => {
      await using session = await openSession({ url: system.ownerUrl });
      return await session.run(statement);
    };
    const flushed = async () => JSON.parse(await sink.ask("")) as { readonly messages: number };
    await work({
      system,
      ...redis && { redis },
      folder,
      query,
      taken: async () => (await flushed()).messages,
      settled: (limitMs) => untilSettled(query, limitMs),
      async verdict(load) {
        await flushed();
        const client = await load.clientSide();
        const sunk = (await linesOf(report)).map((line): SunkMail => JSON.parse(line));
        const runs = new Set([...client.acked, ...client.uncertain].map(runOf));
        const ours = sunk.filter(({ id }) => runs.has(runOf(id)));
        return judgeDelivery(client, ours.map(plainAddresses), await deadLetters(query, runs));
      },
    });
  });
}

const lookEveryMs = 200;

type Query = Stage["query"];

/** Fails when the stage's mail is not what its clients sent. */
function plainAddresses({ id, to }: SunkMail): SunkMail {
  return { id, to: to.map((argument) => /<([^>]*)>/.exec(argument)?.[1] ?? argument) };
}

function runOf(id: string): string {
  return String(id).split("-")[0] ?? "";
}

async function untilSettled(query: Query, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (await isUnfinished(query)) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
  return true;
}

async function isUnfinished(query: Query): Promise<boolean> {
  try {
    const rows = await query("select id from messages where status in ('queued', 'processing') limit 1");
    return rows.length > 0;
  } catch {
    return true; // the database is not back yet
  }
}

/** The recipients that a person can find in dead letters, by the client's own id of the message. */
async function deadLetters(query: Query, runs: ReadonlySet<string>): Promise<ReadonlySet<string>> {
  const rows = await query(
    `select m.rfc_message_id as id, r.address from messages m join recipients r on r.message_id = m.id
     where m.status = 'storage_error' and r.status not in ('accepted', 'delivered')
       or m.status = 'failed' and r.status in ('refused', 'failed', 'unknown')`,
  );
  const keys = rows.map(({ id, address }) => ({
    id: String(id).replace(/^<([^@]*)@.*$/, "$1"),
    address: String(address),
  }));
  return new Set(
    keys.filter(({ id }) => runs.has(runOf(id))).map(({ id, address }) => recipientKey(id, address)),
  );
}

async function linesOf(path: string): Promise<readonly string[]> {
  return (await Deno.readTextFile(path)).split("\n").filter((line) => line !== "");
}
