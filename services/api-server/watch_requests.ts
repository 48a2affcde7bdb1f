import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import type { AppOptions } from "./app.ts";
import type { OnReport } from "./parts.ts";

/** Counts each request and tells of it in the log, those of the operations paths excepted. */
export function requestWatcher(
  { api }: Pick<Metrics, "api">,
  log: Pick<Log, "info">,
): AppOptions["onRequest"] {
  return (method, path, status, seconds, fields) => {
    api.requests.add({ method, path, status: String(status) });
    api.requestDuration.observe({ method, path }, seconds);
    if (status === 401) api.authFailures.add();
    if (path === "/healthz" || path === "/readyz" || path === "/metrics") return;
    log.info("request answered", {
      ...fields,
      method,
      path,
      httpStatus: status,
      durationMs: Math.round(seconds * 1000),
    });
  };
}

/** Counts the reports of email services and the events in them. */
export function reportWatcher({ api }: Pick<Metrics, "api">): OnReport {
  return (kind, result, events) => {
    api.webhookReports.add({ kind, result });
    if (events > 0) api.webhookEvents.add({ kind }, events);
  };
}
