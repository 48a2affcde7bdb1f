import { operationsPort } from "../../lib/config/checks.ts";
import { configOfProcess } from "../../lib/config/process_config.ts";
import { stopSignal } from "../../lib/stop_signal.ts";
import { openLog } from "../../lib/telemetry/log.ts";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { serveOps } from "../../lib/telemetry/ops.ts";
import { watchProcess } from "../../lib/telemetry/process_metrics.ts";
import { version } from "../../lib/version.ts";
import { observe } from "./observe.ts";
import { openIntake } from "./open_intake.ts";
import { openPorts } from "./open_ports.ts";

const { config, warnings } = configOfProcess("smtp-server");
const { instance, logging, smtp } = config;
const output = logging.output === "file" ? "file" : "stdout";
await using log = await openLog({ ...logging, output, service: "smtp-server", instance });
for (const warning of warnings) log.warn("setting ignored", { detail: warning });

const stopping = new AbortController();
const stopped = stopSignal({ withParent: config.stopWithParent }).then((reason) => {
  log.info("stopping", { signal: reason });
  stopping.abort();
});

const metrics = createMetrics({ instance, onCollectError: (error) => log.error("metric failed", { error }) });
using _watch = watchProcess(metrics, { service: "smtp-server", version });
const state = { ready: () => Promise.resolve(["service"] as readonly string[]) };
await using _ops = serveOps({
  metrics,
  ready: async () => {
    const down = stopping.signal.aborted ? ["service"] : await state.ready();
    return down.length === 0 ? { ready: true } : { ready: false, down };
  },
  onFault: (error) => log.error("request failed", { error }),
  host: smtp.opsHost,
  port: operationsPort(smtp.opsPort, instance),
});

await using intake = await openIntake(config, { log, metrics, signal: stopping.signal });
if (intake !== undefined) {
  await using listener = await openPorts(config, { log, intake, observer: observe(metrics) });
  metrics.onScrape(() => metrics.smtp.activeSessions.set(listener.connections));
  state.ready = intake.whatIsDown;
  await stopped;
  await listener.close(smtp.shutdownTimeout);
}
