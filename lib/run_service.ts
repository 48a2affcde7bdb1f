import { operationsPort, type Service } from "./config/checks.ts";
import { configOfProcess } from "./config/process_config.ts";
import type { Config } from "./config/settings.ts";
import { reloadOnHangUp } from "./reload.ts";
import { stopSignal } from "./stop_signal.ts";
import { type OpenedLog, openLog } from "./telemetry/log.ts";
import type { Log } from "./telemetry/log_fields.ts";
import { createMetrics, type Metrics } from "./telemetry/metrics.ts";
import { serveOps } from "./telemetry/ops.ts";
import { watchProcess } from "./telemetry/process_metrics.ts";
import { version } from "./version.ts";

/** What a service works with from its first moment on. */
export interface RunningService {
  readonly config: Config;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Aborted when the process is told to stop. */
  readonly stopping: AbortSignal;
  /** Resolves then. */
  readonly stopped: Promise<void>;
  /** From now on `/readyz` asks this for the parts that are down; before, and when stopping, the service itself is. */
  begin(whatIsDown: () => Promise<readonly string[]>): void;
  /** At SIGHUP, after the log's level was read again. */
  onReload(action: () => void): void;
}

/** Where a service's operations port is, as it is set. */
export type OpsPlace = (config: Config) => { readonly opsHost: string; readonly opsPort: number };

/**
 * Runs a service to its end: settings, log, signals, metrics and operations port, then its work. Its port is bound
 * before its work begins. Ends the process with 2 for wrong settings, and with 1, logged, for work that throws.
 */
export async function runService(
  service: Service,
  opsOf: OpsPlace,
  work: (running: RunningService) => Promise<void>,
): Promise<void> {
  const { config, warnings } = configOfProcess(service);
  const { instance, logging } = config;
  let isFaulty = false;
  {
    const metrics = createMetrics({
      instance,
      onCollectError: (error) => log.error("metric failed", { error }),
    });
    const { logLinesDropped } = metrics.process;
    await using log = await openLog({
      ...logging,
      service,
      instance,
      onDropped: (count) => logLinesDropped.add({ output: logging.output }, count),
    });
    for (const warning of warnings) log.warn("setting ignored", { detail: warning });
    try {
      await runWith(service, opsOf(config), { config, log, metrics }, work);
    } catch (error) {
      log.error("service failed", { error });
      isFaulty = true;
    }
  }
  // Whatever was left open by a fault must not keep the process.
  if (isFaulty) Deno.exit(1);
}

async function runWith(
  service: Service,
  { opsHost, opsPort }: ReturnType<OpsPlace>,
  { config, log, metrics }: Pick<RunningService, "config" | "metrics"> & { readonly log: OpenedLog },
  work: (running: RunningService) => Promise<void>,
): Promise<void> {
  const { instance } = config;
  const stopping = new AbortController();
  const stopped = stopSignal({ withParent: config.stopWithParent }).then((reason) => {
    log.info("stopping", { signal: reason });
    stopping.abort();
  });
  const reloading: (() => void)[] = [];
  using _reload = reloadOnHangUp({ service, log, onReload: () => reloading.forEach((action) => action()) });
  using _watch = watchProcess(metrics, { service, version });
  let whatIsDown = () => Promise.resolve<readonly string[]>(["service"]);
  await using _ops = serveOps({
    metrics,
    ready: async () => {
      const down = stopping.signal.aborted ? ["service"] : await whatIsDown();
      return down.length === 0 ? { ready: true } : { ready: false, down };
    },
    onFault: (error) => log.error("request failed", { error }),
    host: opsHost,
    port: operationsPort(opsPort, instance),
  });
  await work({
    config,
    log,
    metrics,
    stopping: stopping.signal,
    stopped,
    begin: (ask) => whatIsDown = ask,
    onReload: (action) => reloading.push(action),
  });
}
