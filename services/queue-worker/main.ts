import { operationsPort } from "../../lib/config/checks.ts";
import { configOfProcess } from "../../lib/config/process_config.ts";
import { stopSignal } from "../../lib/stop_signal.ts";
import { openLog } from "../../lib/telemetry/log.ts";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { serveOps } from "../../lib/telemetry/ops.ts";
import { watchProcess } from "../../lib/telemetry/process_metrics.ts";
import { version } from "../../lib/version.ts";
import { openWorker } from "./open_worker.ts";

const { config, warnings } = configOfProcess("queue-worker");
const { instance, logging } = config;
const output = logging.output === "file" ? "file" : "stdout";
await using log = await openLog({ ...logging, output, service: "queue-worker", instance });
for (const warning of warnings) log.warn("setting ignored", { detail: warning });

const stopping = new AbortController();
const stopped = stopSignal({ withParent: config.stopWithParent }).then((reason) => {
  log.info("stopping", { signal: reason });
  stopping.abort();
});

const metrics = createMetrics({ instance, onCollectError: (error) => log.error("metric failed", { error }) });
using _watch = watchProcess(metrics, { service: "queue-worker", version });
const state = { whatIsDown: () => Promise.resolve(["service"] as readonly string[]) };
// Bound before anything else: whoever has a port that is set has the name, so the process before is gone.
const opsPort = operationsPort(config.worker.opsPort, instance);
await using _ops = serveOps({
  metrics,
  ready: async () => {
    const down = stopping.signal.aborted ? ["service"] : await state.whatIsDown();
    return down.length === 0 ? { ready: true } : { ready: false, down };
  },
  onFault: (error) => log.error("request failed", { error }),
  host: config.worker.opsHost,
  port: opsPort,
});

await using worker = await openWorker(config, {
  log,
  metrics,
  signal: stopping.signal,
  name: `${Deno.hostname()}:${instance}`,
  hasOwnPort: opsPort !== 0,
});
if (worker !== undefined) {
  state.whatIsDown = worker.whatIsDown;
  log.info("worker started", { count: config.queue.workers });
  await stopped;
}
