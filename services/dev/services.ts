import { operationsPort } from "../../lib/config/checks.ts";
import type { Config } from "../../lib/config/settings.ts";
import { startChild } from "./child.ts";
import type { DataFolder } from "./data_folder.ts";
import type { ServiceLogin } from "../../lib/postgres/service_logins.ts";
import { type Variables, withLogin } from "./environment.ts";
import { until } from "./processes.ts";
import { taskArguments, withNamedPaths } from "./task_command.ts";

interface Service {
  readonly task: "smtp-server" | "queue-worker" | "api-server";
  readonly login: ServiceLogin;
  readonly operations: (config: Config) => { readonly opsHost: string; readonly opsPort: number };
}

const services: readonly Service[] = [
  { task: "smtp-server", login: "smtp_server", operations: ({ smtp }) => smtp },
  { task: "queue-worker", login: "queue_worker", operations: ({ worker }) => worker },
  { task: "api-server", login: "api_server", operations: ({ api }) => api },
];

/** The services as child processes; disposing stops them all at once and waits. */
export interface RunningServices extends AsyncDisposable {
  /** Resolves with the first that ends, and its exit code. */
  readonly firstEnd: Promise<{ readonly name: string; readonly code: number }>;
  /** Resolves to true when each one's `/readyz` is 200; to false when the signal came first or one ended. */
  ready(signal: AbortSignal): Promise<boolean>;
}

/** What a service may take besides finishing the work it has in hand. */
const graceMs = 15_000;

/** Starts every service with the permissions of its task and a login of its own. */
export function startServices(
  config: Config,
  data: DataFolder,
  variables: Variables,
  port: number,
): RunningServices {
  const children = services.map(({ task, login }) =>
    startChild(
      task,
      withNamedPaths(taskArguments(task, data.path), variables),
      withLogin(variables, data, port, login),
    )
  );
  const stopLimitMs = Math.max(config.smtp.shutdownTimeout, config.worker.shutdownTimeout) + graceMs;
  let ended = false;
  const firstEnd = Promise.race(children.map(async ({ name, ended }) => ({ name, code: await ended })));
  firstEnd.then(() => ended = true);
  return {
    firstEnd,
    async ready(signal) {
      for (const { operations } of services) {
        const url = readinessUrl(config, operations(config));
        await until(async () => signal.aborted || ended || await isReady(url), Infinity);
      }
      return !signal.aborted && !ended;
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(children.map((child) => child.stop(stopLimitMs)));
    },
  };
}

function readinessUrl(
  config: Config,
  { opsHost, opsPort }: { readonly opsHost: string; readonly opsPort: number },
) {
  const host = opsHost === "0.0.0.0" || opsHost === "::" ? "127.0.0.1" : opsHost;
  return `http://${host.includes(":") ? `[${host}]` : host}:${
    operationsPort(opsPort, config.instance)
  }/readyz`;
}

async function isReady(url: string): Promise<boolean> {
  try {
    const response = await fetch(url);
    await response.body?.cancel();
    return response.status === 200;
  } catch (error) {
    if (error instanceof TypeError) return false; // it does not listen yet
    throw error;
  }
}
