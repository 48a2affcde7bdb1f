import { benchProvider } from "./api_rows.ts";
import { type ApiSystem, openApiSystem } from "./api_system.ts";
import type { BenchOptions } from "./bench_options.ts";
import { runToJson } from "./child.ts";
import type { HttpRequest } from "./http_client.ts";
import type { HttpLoad, HttpReport } from "./http_load.ts";
import { compareFilters } from "./list_filters.ts";
import { medianOf, type Result } from "./result.ts";

const connections = 20;
/** Below what a group may have. */
const maxRules = 900;

/** The API beside hono alone over the same rows, and its lists over many rows and over few. */
export async function* api(folder: string, options: BenchOptions): AsyncGenerator<Result> {
  await using system = await openApiSystem(folder, options.rows);
  const ask: Ask = (load) => askWith(folder, load);
  yield* reads(system, options, ask);
  yield await rules(system, options, ask);
  yield* compareFilters(system.little, system.full, options.listTimes);
}

interface Read {
  readonly load: string;
  readonly ours: readonly string[];
  readonly bare: readonly string[];
}

type Ask = (
  load: Omit<HttpLoad, "connections" | "status"> & { readonly status?: number },
) => Promise<HttpReport>;

async function* reads(system: ApiSystem, options: BenchOptions, ask: Ask): AsyncGenerator<Result> {
  const headers = { authorization: `Bearer ${await system.token(system.filled.large)}` };
  for (const { load, ours, bare } of await readsOf(system, headers)) {
    const [product, yardstick]: [HttpReport[], HttpReport[]] = [[], []];
    // The first round warms both up.
    for (let round = 0; round <= options.rounds; round++) {
      const seconds = round === 0 ? 1 : options.seconds;
      const asked = await ask({
        port: system.apiPort,
        headers,
        requests: ours.map(get),
        seconds,
      });
      const beside = await ask({ port: system.bare.port, requests: bare.map(get), seconds });
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
  const reports: HttpReport[] = [];
  for (let round = 0; round <= options.rounds; round++) {
    const report = await ask({
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

/** The load may be longer than an argument may be. */
async function askWith(folder: string, load: Parameters<Ask>[0]): Promise<HttpReport> {
  const file = await Deno.makeTempFile({ dir: folder, suffix: ".json" });
  await Deno.writeTextFile(file, JSON.stringify({ connections, status: 200, ...load }));
  return await runToJson("./http_load.ts", [file]);
}

function resultOf(target: string, load: string, reports: readonly HttpReport[]): Result {
  const values = medianOf(reports.map(({ perSecond, latency }) => ({
    perSecond,
    p50: latency.p50,
    p95: latency.p95,
    p99: latency.p99,
    max: latency.max,
  })));
  const errors: Record<string, number> = {};
  for (const [status, times] of reports.flatMap((report) => Object.entries(report.errors))) {
    errors[status] = (errors[status] ?? 0) + times;
  }
  return { case: "api", target, load, values, ...(Object.keys(errors).length > 0 && { errors }) };
}
