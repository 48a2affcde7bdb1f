import { runToJson } from "./child.ts";
import type { Load } from "./load_kinds.ts";
import type { LoadReport } from "./load_tally.ts";
import { machineAtRest, machineCpuSeconds, ProcessWatch } from "./measure.ts";
import { medianOf, type Result, sumOfErrors, valuesOf } from "./result.ts";
import type { Target } from "./target.ts";

interface Run {
  readonly report: LoadReport;
  readonly values: Readonly<Record<string, number>>;
}

/**
 * Measures every server under every load, in turns so that a disturbance of the machine meets all of them, and
 * answers the median of the rounds.
 */
export async function* compareServers(
  caseName: string,
  targets: readonly Target[],
  chosen: readonly Load[],
  { rounds, seconds }: { readonly rounds: number; readonly seconds: number },
): AsyncGenerator<Result> {
  for (const load of chosen) {
    const runs = new Map<Target, Run[]>(targets.map((target) => [target, []]));
    for (const target of targets) await runLoad(target, load, ["--seconds", "2"]);
    for (let round = 0; round < rounds; round++) {
      for (const [target, own] of runs) {
        // The one before may have accepted more than it has delivered.
        await machineAtRest();
        own.push(await runLoad(target, load, ["--seconds", String(seconds)]));
      }
    }
    for (const [target, own] of runs) {
      const errors = sumOfErrors(own.map((run) => run.report));
      const values = medianOf(own.map((run) => run.values));
      yield { case: caseName, target: target.name, load: load.name, values, errors };
    }
  }
}

/** Runs the load generator once against a server and measures both. */
export async function runLoad(target: Target, load: Load, more: readonly string[]): Promise<Run> {
  const watch = new ProcessWatch(target.pids);
  const [began, busyBefore] = [performance.now(), machineCpuSeconds()];
  const report = await runToJson<LoadReport>("./load.ts", [
    `--port=${target.port}`,
    `--tls=${target.tls}`,
    `--user=${target.user}`,
    `--password=${target.password}`,
    `--per-connection=${load.messagesPerConnection}`,
    `--size=${load.size}`,
    ...more,
  ]);
  const usage = watch.end();
  const others = machineCpuSeconds() - busyBefore - usage.cpuSeconds - report.cpuSeconds;
  // How much else the machine did: a comparison is worth little where this is much.
  const otherCores = Math.round(others * 100_000 / (performance.now() - began)) / 100;
  return { report, values: { ...valuesOf(report, usage), otherCores } };
}
