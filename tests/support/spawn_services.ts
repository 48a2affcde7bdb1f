import { join } from "node:path";
import { openSession } from "../../lib/postgres/database.ts";
import { newKeyText } from "../../lib/secrets/seal.ts";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { startPostgres } from "../../services/dev/postgres.ts";
import { freePort } from "./ports.ts";
import { killTree } from "./process_tree.ts";
import { runProgram } from "./run_program.ts";
import { ServiceProcess } from "./service_process.ts";
import { loginUrl, prepareServer } from "./test_server.ts";

/** What a test wants of the product. */
export interface SystemOptions {
  /** Settings of every service, over the ones chosen here. */
  readonly env?: Readonly<Record<string, string>>;
  /** The dev group's provider, as `seed --provider` takes it. */
  readonly provider?: unknown;
  /** Which services start; all of them when not given. The others can be started later. */
  readonly start?: readonly ServiceName[];
}

/** A service's name in a test. */
export type ServiceName = "smtpServer" | "queueWorker" | "apiServer";

/** The product as real processes on ports of its own, with a PostgreSQL that syncs. */
export interface TestSystem {
  readonly folder: string;
  readonly smtpPort: number;
  readonly implicitTlsPort: number;
  readonly apiPort: number;
  /** Logs in to the database as the superuser. */
  readonly ownerUrl: string;
  readonly smtpServer: ServiceProcess;
  readonly queueWorker: ServiceProcess;
  readonly apiServer: ServiceProcess;
  readonly postgres: TestPostgres;
  /** One more process of a service, instance 1, not started yet; settings are over those of the first. */
  second(name: ServiceName, settings?: Readonly<Record<string, string>>): ServiceProcess;
  /** Runs `seed`, with a provider when one is given. */
  seed(provider?: unknown): Promise<void>;
}

/** The system's PostgreSQL, to be killed and started again. */
export interface TestPostgres {
  /** Of the server's first process, whose children serve the connections. */
  readonly pid: number;
  /** Ends it with all its processes at once (SIGKILL). */
  kill(): Promise<void>;
  /** Starts it again in the same place; resolves when it takes connections. */
  restart(): Promise<void>;
}

const services = {
  smtpServer: { task: "smtp-server", login: "smtp_server", opsVariable: "SMTP_PROXY_SMTP_OPS_PORT" },
  queueWorker: { task: "queue-worker", login: "queue_worker", opsVariable: "SMTP_PROXY_WORKER_OPS_PORT" },
  apiServer: { task: "api-server", login: "api_server", opsVariable: "SMTP_PROXY_API_OPS_PORT" },
} as const;

/** Starts the product, runs a test with it and takes it away; of a failed test everything is kept, and told where. */
export async function withServices(
  options: SystemOptions,
  test: (system: TestSystem) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_e2e_" });
  await Deno.chmod(folder, 0o711); // PostgreSQL may run as another user
  try {
    await using opened = new AsyncDisposableStack();
    await test(await open(folder, options, opened));
  } catch (error) {
    throw new Error(
      `${error instanceof Error ? error.message : error}\n(logs and data are kept in ${folder})`,
      {
        cause: error,
      },
    );
  }
  await removeCluster(clusterOf(folder));
  await Deno.remove(folder, { recursive: true });
}

async function open(
  folder: string,
  options: SystemOptions,
  opened: AsyncDisposableStack,
): Promise<TestSystem> {
  const password = crypto.getRandomValues(new Uint8Array(16)).toHex();
  const { url, postgres } = await openPostgres(folder, password, opened);
  await prepareServer(url, password);
  const ports = { smtp: freePort(), implicit: freePort(), api: freePort() };
  const ops = { smtp: freePort(), worker: freePort(), api: freePort() };
  const messages = join(folder, "messages");
  await Deno.mkdir(messages);
  const env = {
    SMTP_PROXY_ENVIRONMENT: "development",
    SMTP_PROXY_STOP_WITH_PARENT: "true",
    SMTP_PROXY_SMTP_HOST: "127.0.0.1",
    SMTP_PROXY_SMTP_PORT: String(ports.smtp),
    SMTP_PROXY_SMTP_IMPLICIT_TLS_PORT: String(ports.implicit),
    SMTP_PROXY_SMTP_OPS_PORT: String(ops.smtp),
    SMTP_PROXY_WORKER_OPS_PORT: String(ops.worker),
    SMTP_PROXY_API_HOST: "127.0.0.1",
    SMTP_PROXY_API_PORT: String(ports.api),
    SMTP_PROXY_API_OPS_PORT: String(ops.api),
    SMTP_PROXY_STORAGE_PATH: messages,
    SMTP_PROXY_SECRETS_KEYS: newKeyText("test"),
    ...options.env,
  };
  function service(name: ServiceName, opsPort: number, settings: Readonly<Record<string, string>> = {}) {
    const { task, login } = services[name];
    const own = { ...env, SMTP_PROXY_DATABASE_URL: loginUrl(url, login), ...settings };
    return opened.use(new ServiceProcess({ task, folder, opsPort, env: own }));
  }
  const system: TestSystem = {
    folder,
    smtpPort: ports.smtp,
    implicitTlsPort: ports.implicit,
    apiPort: ports.api,
    ownerUrl: url,
    smtpServer: service("smtpServer", ops.smtp),
    queueWorker: service("queueWorker", ops.worker),
    apiServer: service("apiServer", ops.api),
    postgres,
    second(name, settings) {
      const opsPort = freePort();
      const own = { SMTP_PROXY_INSTANCE: "1", [services[name].opsVariable]: String(opsPort - 1) };
      return service(name, opsPort, { ...own, ...settings });
    },
    seed: (provider) => seed(provider, { ...env, SMTP_PROXY_DATABASE_URL: loginUrl(url, "api_server") }),
  };
  await system.seed(options.provider);
  const names = options.start ?? ["smtpServer", "queueWorker", "apiServer"];
  await Promise.all(names.map((name) => system[name].start()));
  return system;
}

async function openPostgres(folder: string, password: string, opened: AsyncDisposableStack) {
  const options = { dir: clusterOf(folder), port: freePort(), password, durable: true };
  let server = await startPostgres(options);
  opened.defer(() => server.stop());
  const postgres: TestPostgres = {
    get pid() {
      return server.pid;
    },
    async kill() {
      await killTree(server.pid);
      await server.ended;
      // Nothing is left to stop, but what it wrote to its end is read.
      await server.stop();
    },
    async restart() {
      server = await startPostgres(options);
    },
  };
  return { url: server.url, postgres };
}

async function seed(provider: unknown, env: Readonly<Record<string, string>>): Promise<void> {
  const args = provider === undefined ? [] : ["--provider", JSON.stringify(provider)];
  const { code, stderr } = await runProgram("seed", args, env);
  if (code !== 0) throw new Error(`Cannot seed: ${stderr}`);
}

function clusterOf(folder: string): string {
  return join(folder, "postgres");
}

/** One session's rows, for looking at what the product left in the database. */
export async function rowsOf(
  system: TestSystem,
  statement: string,
): Promise<readonly Record<string, unknown>[]> {
  await using session = await openSession({ url: system.ownerUrl });
  return await session.run(statement);
}
