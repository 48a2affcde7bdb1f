import { join } from "node:path";
import { openSession } from "../../lib/postgres/database.ts";
import { migrateUp } from "../../lib/postgres/migrate.ts";
import { migrations } from "../../migrations/mod.ts";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { ensureLogins, type ServiceLogin } from "../../lib/postgres/service_logins.ts";
import { startPostgres } from "../../services/dev/postgres.ts";
import { freePort } from "../support/ports.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { type Program, runProgram, startProgram, untilReady } from "./program.ts";
import type { BenchedEsp, System, Worker } from "./system.ts";
import type { Certificate } from "./target.ts";

/** Which queue the product uses. */
export type QueueKind = "postgres" | "redis";

type Environment = Readonly<Record<string, string>>;

/**
 * Starts PostgreSQL with everything synced, migrates, seeds the dev group and starts smtp-server; the queue-worker
 * waits until a case wants it. Everything lies in a new folder under `parent` and is gone when disposed.
 */
export async function openSystem(
  parent: string,
  certificate: Certificate,
  queue: QueueKind,
): Promise<System> {
  await using opening = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir({ dir: parent, prefix: `system-${queue}-` });
  opening.defer(() => Deno.remove(folder, { recursive: true }));
  await Deno.chmod(folder, 0o711); // PostgreSQL may run as another user
  const cluster = join(folder, "postgres");
  opening.defer(() => removeCluster(cluster));
  const password = crypto.getRandomValues(new Uint8Array(16)).toHex();
  const postgres = opening.use(
    await startPostgres({ dir: cluster, port: freePort(), password, durable: true }),
  );
  await prepareDatabase(postgres.url, password);
  const redis = queue === "redis"
    ? opening.use(await startRedis({ config: ["appendfsync everysec"] }))
    : undefined;
  const common = await commonSettings(folder, redis);
  const urlOf = (login: ServiceLogin) => loginUrl(postgres.url, login);
  await runProgram("seed", [], folder, { ...common, SMTP_PROXY_DATABASE_URL: urlOf("api_server") });

  const port = freePort();
  const intake = opening.use(
    await startSmtpServer(folder, port, certificate, {
      ...common,
      SMTP_PROXY_DATABASE_URL: urlOf("smtp_server"),
    }),
  );
  const parts = opening.move();
  return {
    intake: {
      name: queue === "redis" ? "smtp-server+redis" : "smtp-server",
      port,
      tls: "starttls",
      user: "dev",
      password: "dev",
      pids: [intake.pid, postgres.pid, ...redis === undefined ? [] : [await pidOf(redis)]],
      [Symbol.asyncDispose]: () => Promise.resolve(),
    },
    smtpServerPid: intake.pid,
    async startWorker(sinkPort, esp = "smtp") {
      const provider = { name: "sink", "provider_type": esp, "smtp_config": espSettings[esp](sinkPort) };
      const settings = { ...common, SMTP_PROXY_ESP_ALLOWED_PORTS: String(sinkPort) };
      await runProgram("seed", ["--provider", JSON.stringify(provider)], folder, {
        ...settings,
        SMTP_PROXY_DATABASE_URL: urlOf("api_server"),
      });
      return await startWorker(folder, { ...settings, SMTP_PROXY_DATABASE_URL: urlOf("queue_worker") });
    },
    openSnapshot: () => openSnapshot(postgres.url),
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

const espSettings: Readonly<Record<BenchedEsp, (port: number) => Readonly<Record<string, unknown>>>> = {
  smtp: (port) => ({ host: "127.0.0.1", port, tls: "none" }),
  sendgrid: (port) => ({ endpoint: `http://127.0.0.1:${port}`, "api_key": "SG.bench" }),
  ses: (port) => ({
    endpoint: `http://127.0.0.1:${port}`,
    region: "us-east-1",
    credentials: "static",
    "access_key_id": "AKIABENCH00000000000",
    "secret_access_key": "bench",
  }),
};

async function prepareDatabase(url: string, password: string): Promise<void> {
  await migrateUp({ url, migrations });
  await using session = await openSession({ url });
  await ensureLogins(session, () => password);
}

function loginUrl(superuserUrl: string, login: ServiceLogin): string {
  const url = new URL(superuserUrl);
  url.username = login;
  return url.href;
}

async function commonSettings(folder: string, redis: TestRedis | undefined): Promise<Environment> {
  const messages = join(folder, "messages");
  await Deno.mkdir(messages, { recursive: true });
  return {
    SMTP_PROXY_ENVIRONMENT: "development",
    SMTP_PROXY_STOP_WITH_PARENT: "true",
    SMTP_PROXY_STORAGE_PATH: messages,
    SMTP_PROXY_SECRETS_KEYS: `bench:${crypto.getRandomValues(new Uint8Array(32)).toBase64()}`,
    ...redis === undefined ? {} : { SMTP_PROXY_QUEUE_REDIS_ADDR: redis.address },
  };
}

async function startSmtpServer(
  folder: string,
  port: number,
  certificate: Certificate,
  common: Environment,
): Promise<Program> {
  // Of the system's folder the task lets the service read what it writes itself.
  const readable = join(folder, "log");
  await Deno.mkdir(readable, { recursive: true });
  const [certFile, keyFile] = [join(readable, "cert.pem"), join(readable, "key.pem")];
  await Deno.copyFile(certificate.certFile, certFile);
  await Deno.copyFile(certificate.keyFile, keyFile);
  const opsPort = freePort();
  const program = startProgram("smtp-server", folder, {
    ...common,
    SMTP_PROXY_SMTP_HOST: "127.0.0.1",
    SMTP_PROXY_SMTP_PORT: String(port),
    SMTP_PROXY_SMTP_IMPLICIT_TLS_PORT: "0",
    SMTP_PROXY_SMTP_OPS_PORT: String(opsPort),
    SMTP_PROXY_TLS_CERT_FILE: certFile,
    SMTP_PROXY_TLS_KEY_FILE: keyFile,
  });
  await untilReady(program, opsPort);
  return program;
}

async function startWorker(folder: string, common: Environment): Promise<Worker> {
  const opsPort = freePort();
  const program = startProgram("queue-worker", folder, {
    ...common,
    SMTP_PROXY_WORKER_OPS_PORT: String(opsPort),
    // As many deliveries at a time as the load has sessions.
    SMTP_PROXY_QUEUE_WORKERS: "20",
  });
  await untilReady(program, opsPort);
  return program;
}

async function openSnapshot(url: string): Promise<AsyncDisposable> {
  const session = await openSession({ url });
  await session.run("begin isolation level repeatable read; select count(*) from messages");
  return session;
}

async function pidOf(redis: TestRedis): Promise<number> {
  const info = String(await redis.command("INFO", "server"));
  return Number(/process_id:(\d+)/.exec(info)?.[1] ?? 0);
}
