// Asks an HTTP server as often as its answers come, and prints a JSON report. Argument: a file with the `HttpLoad` in JSON.
import { readFileSync, writeSync } from "node:fs";
import { HttpConnection, type HttpRequest, wireOf } from "./http_client.ts";
import { Latencies, type LatencySummary } from "./latency.ts";

/** What to ask, how often and of whom. */
export interface HttpLoad {
  readonly port: number;
  /** Sent in turn, again from the first unless `once`. */
  readonly requests: readonly HttpRequest[];
  /** Of every request. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly once?: boolean;
  readonly connections: number;
  readonly seconds: number;
  /** What is answered with another status is counted by it. */
  readonly status: number;
}

/** What became of it. */
export interface HttpReport {
  readonly perSecond: number;
  readonly latency: LatencySummary;
  readonly errors: Readonly<Record<string, number>>;
}

const [file = ""] = Deno.args;
writeSync(1, JSON.stringify(await run(JSON.parse(readFileSync(file, "utf8")) as HttpLoad)) + "\n");

async function run(load: HttpLoad): Promise<HttpReport> {
  const wires = load.requests.map((request) => wireOf(request, load.headers));
  const latencies = new Latencies();
  const errors: Record<string, number> = {};
  let next = 0;
  const start = performance.now();
  const end = start + load.seconds * 1000;
  await Promise.all(Array.from({ length: load.connections }, work));
  const { count } = latencies.summary();
  const perSecond = Math.round(count * 10_000 / (performance.now() - start)) / 10;
  return { perSecond, latency: latencies.summary(), errors };

  async function work(): Promise<void> {
    using connection = await HttpConnection.open(load.port);
    for (;;) {
      const began = performance.now();
      const wire = wires[load.once === true ? next : next % wires.length];
      next++;
      if (wire === undefined || began >= end) return;
      const status = await connection.ask(wire);
      if (status === load.status) latencies.add(performance.now() - began);
      else errors[status] = (errors[status] ?? 0) + 1;
    }
  }
}
