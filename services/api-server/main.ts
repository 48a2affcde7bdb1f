import { operationsPort } from "../../lib/config/checks.ts";
import { configOfProcess } from "../../lib/config/process_config.ts";
import { awaitSchema } from "../../lib/postgres/await_schema.ts";
import { reloadOnHangUp } from "../../lib/reload.ts";
import { sleepFor } from "../../lib/retry.ts";
import { stopSignal } from "../../lib/stop_signal.ts";
import { requireKeys } from "../../lib/providers/require_keys.ts";
import { openLog } from "../../lib/telemetry/log.ts";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { metricsReaders, opsHandler, type Readiness, serveOps } from "../../lib/telemetry/ops.ts";
import { openWatchedDatabase } from "../../lib/telemetry/watched_database.ts";
import { watchProcess } from "../../lib/telemetry/process_metrics.ts";
import { version } from "../../lib/version.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { ensureSystemAdmin } from "../../lib/users/system_admin.ts";
import { PasswordVerifier } from "../../lib/users/password_verifier.ts";
import type { LogFields } from "../../lib/telemetry/log_fields.ts";
import { createApp } from "./app.ts";
import { mailParts } from "./mail_parts.ts";
import { openParts } from "./open_parts.ts";
import { apiOperations } from "./resources/catalog.ts";
import { serveApp } from "./serve_app.ts";
import { reportWatcher, requestWatcher } from "./watch_requests.ts";

const { config, warnings } = configOfProcess("api-server");
const { instance, api, admin } = config;
const development = config.environment === "development";
const metrics = createMetrics({ instance, onCollectError: onFault });
const { logLinesDropped } = metrics.process;
await using log = await openLog({
  ...config.logging,
  service: "api-server",
  instance,
  onDropped: (count) => logLinesDropped.add({ output: config.logging.output }, count),
});
for (const warning of warnings) log.warn("setting ignored", { detail: warning });
if (development) log.warn("development: default credentials are accepted");

const stopping = new AbortController();
const stopped = stopSignal({ withParent: config.stopWithParent }).then((reason) => {
  log.info("stopping", { signal: reason });
  stopping.abort();
});

using _reload = reloadOnHangUp({ service: "api-server", log });
using _watch = watchProcess(metrics, { service: "api-server", version });
const watch = { service: "api-server", log, metrics };
const small = { ...config.database, poolMax: Math.max(2, Math.ceil(config.database.poolMax / 4)) };
await using administrators = openWatchedDatabase(small, { ...watch, role: "smtp_proxy_admin" });
await using members = openWatchedDatabase(config.database, { ...watch, role: "smtp_proxy_group" });
await using strangers = openWatchedDatabase(small, { ...watch, role: "smtp_proxy_login" });
using passwords = new PasswordVerifier();

let prepared = false;
const operations = { metrics, ready, onFault };
await using _ops = serveOps({
  ...operations,
  host: api.opsHost,
  port: operationsPort(api.opsPort, instance),
});
const databases = { login: strangers, group: members, admin: administrators };
await using mail = mailParts(config, { database: administrators, log });
const { authenticate, parts } = openParts(config, {
  databases,
  passwords,
  mail,
  log,
  onFault,
  onReport: reportWatcher(metrics),
});
const app = createApp({
  operations: opsHandler({ ...operations, mayReadMetrics: metricsReaders(api.metricsNetworks) }),
  api: apiOperations(parts),
  authenticate,
  limits: api,
  onRequest: requestWatcher(metrics, log),
  onFault,
});
await using server = serveApp(app, { host: api.host, port: api.port, stopping: stopping.signal, onFault });
log.info("listening", { host: api.host, port: server.port });

if (await awaitSchema(administrators, { development, log, signal: stopping.signal })) {
  const hasKeys = !config.secrets.keys.isEmpty;
  await requireKeys(administrators.system, { hasKeys, development, log });
  const passwordHash = () => hashPassword(admin.password.reveal());
  if (await ensureSystemAdmin(administrators, { email: admin.email, passwordHash })) {
    log.info("system administrator created", { username: admin.email });
  }
  prepared = true;
}
await stopped;
await sleepFor(api.shutdownDelay);

async function ready(): Promise<Readiness> {
  if (!prepared || stopping.signal.aborted) return { ready: false, down: ["service"] };
  const [database, others] = await Promise.all([isDatabaseThere(), mail.whatIsDown()]);
  const down = [...database ? [] : ["database"], ...others];
  return down.length === 0 ? { ready: true } : { ready: false, down };
}

async function isDatabaseThere(): Promise<boolean> {
  try {
    await administrators.system`select 1`;
    return true;
  } catch {
    return false; // told to whoever asks; the log has it from the pool
  }
}

function onFault(error: unknown, fields: LogFields = {}): void {
  log.error("request failed", { ...fields, error });
}
