import { benchProvider } from "./api_rows.ts";
import { type ApiSystem, openApiSystem } from "./api_system.ts";
import type { BenchOptions } from "./bench_options.ts";
import { runToJson } from "./child.ts";
import type { HttpRequest } from "./http_client.ts";
import type { HttpLoad, HttpReport } from "./http_load.ts";
import { compareFilters } from "./list_filters.ts";
import { cpuSecondsOf } from "./measure.ts";
import { medianOf, type Result } from "./result.ts";

const connections = 20;
const warmUpSeconds = 3;
/** Below what a group may have. */
const maxRules = 900;

/** The API beside hono alone over the same rows. */
export async function* api(folder: string, options: BenchOptions): AsyncGenerator<Result> {
  await using system = await openApiSystem(folder, options.rows);
  const ask: Ask = (pid, load) => askWith(folder, { server: pid, postgres: system.postgresPid }, load);
  yield* reads(system, options, ask);
  yield await rules(system, options, ask);
}

/** Every list over many rows and over few. */
export async function* lists(folder: string, options: BenchOptions): AsyncGenerator<Result> {
  await using system = await openApiSystem(folder, options.rows);
  yield* compareFilters(system.little, system.full, options.listTimes);
}

interface Read {
  readonly load: string;
  readonly ours: readonly string[];
  readonly bare: readonly string[];
}

interface Asked extends HttpReport {
  /** CPU seconds of a thousand answers. */
  readonly serverCpu: number;
  readonly postgresCpu: number;
}
type Ask = (
  pid: number,
  load: Omit<HttpLoad, "connections" | "status"> & { readonly status?: number },
) => Promise<Asked>;

async function* reads(system: ApiSystem, options: BenchOptions, ask: Ask): AsyncGenerator<Result> {
  const headers = { authorization: `Bearer ${await system.token(system.filled.large)}` };
  for (const { load, ours, bare } of await readsOf(system, headers)) {
    const [product, yardstick]: [Asked[], Asked[]] = [[], []];
    // The first round warms both up.
    for (let round = 0; round <= options.rounds; round++) {
      const seconds = round === 0 ? warmUpSeconds : options.seconds;
      const asked = await ask(system.apiPid, {
        port: system.apiPort,
        headers,
        requests: ours.map(get),
        seconds,
      });
      const beside = await ask(system.bare.pid, { port: system.bare.port, requests: bare.map(get), seconds });
      if (round > 0) product.push(asked), yardstick.push(beside);
    }
    yield resultOf("api-server", load, product);
    yield resultOf("hono", load, yardstick);
  }
}

async function readsOf(
  system: ApiSystem,
  headers: Readonly<Record<string, string>>,
): Promise<readonly Read[]> {
  const group = system.filled.large;
  const rows = await system.full.session.run(`select id from messages where group_id = '${group}'
    order by hashtext(id::text) limit 200`);
  const ids = rows.map((row) => String(row["id"]));
  const response = await fetch(`http://127.0.0.1:${system.apiPort}/api/v1/messages`, { headers });
  const { next_cursor: second } = await response.json();
  const after = ids.toSorted().at(-1) ?? "";
  return [
    { load: "row", ours: [`/api/v1/groups/${group}`], bare: [`/groups/${group}`] },
    {
      load: "message",
      ours: ids.map((id) => `/api/v1/messages/${id}`),
      bare: ids.map((id) => `/messages/${id}`),
    },
    {
      load: "page",
      ours: ["/api/v1/messages?limit=50", `/api/v1/messages?limit=50&cursor=${encodeURIComponent(second)}`],
      bare: ["/messages", `/messages?after=${after}`],
    },
  ];
}

/** Rules made one after the other by each connection; every rule is checked, stored and told in the activity log. */
async function rules(system: ApiSystem, options: BenchOptions, ask: Ask): Promise<Result> {
  const headers = { authorization: `Bearer ${await system.token(system.filled.large)}` };
  const requests = Array.from({ length: maxRules }, (_, n): HttpRequest => ({
    method: "POST",
    path: "/api/v1/routing-rules",
    body: JSON.stringify({
      priority: n,
      conditions: { "recipient_domain": [`${n}.example.net`] },
      "provider_id": benchProvider,
    }),
  }));
  const reports: Asked[] = [];
  for (let round = 0; round <= options.rounds; round++) {
    const report = await ask(system.apiPid, {
      port: system.apiPort,
      requests,
      headers,
      once: true,
      seconds: options.seconds,
      status: 201,
    });
    if (round > 0) reports.push(report);
    await system.full.session.run(`delete from routing_rules where group_id = '${system.filled.large}'`);
  }
  return resultOf("api-server", "rule", reports);
}

function get(path: string): HttpRequest {
  return { method: "GET", path };
}

async function askWith(
  folder: string,
  pids: { readonly server: number; readonly postgres: number },
  load: Parameters<Ask>[1],
): Promise<Asked> {
  // The load may be longer than an argument may be.
  const file = await Deno.makeTempFile({ dir: folder, suffix: ".json" });
  await Deno.writeTextFile(file, JSON.stringify({ connections, status: 200, ...load }));
  const before = [cpuSecondsOf([pids.server]), cpuSecondsOf([pids.postgres])] as const;
  const report = await runToJson<HttpReport>("./http_load.ts", [file]);
  const thousands = Math.max(1, report.latency.count) / 1000;
  const per1000 = (seconds: number) => Math.round(seconds * 1000 / thousands) / 1000;
  return {
    ...report,
    serverCpu: per1000(cpuSecondsOf([pids.server]) - before[0]),
    postgresCpu: per1000(cpuSecondsOf([pids.postgres]) - before[1]),
  };
}

function resultOf(target: string, load: string, reports: readonly Asked[]): Result {
  const values = medianOf(reports.map(({ perSecond, latency, serverCpu, postgresCpu }) => ({
    perSecond,
    p50: latency.p50,
    p95: latency.p95,
    p99: latency.p99,
    max: latency.max,
    cpuSecondsPer1000: serverCpu,
    postgresCpuSecondsPer1000: postgresCpu,
  })));
  const errors: Record<string, number> = {};
  for (const [status, times] of reports.flatMap((report) => Object.entries(report.errors))) {
    errors[status] = (errors[status] ?? 0) + times;
  }
  return { case: "api", target, load, values, ...(Object.keys(errors).length > 0 && { errors }) };
}
