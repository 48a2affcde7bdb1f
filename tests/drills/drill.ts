import { until } from "../../services/dev/processes.ts";
import type { Disturbance } from "./disturbances.ts";
import { type LoadPlan, type LoadProcess, startLoad } from "./load_process.ts";
import type { Stage } from "./stage.ts";
import type { Verdict } from "./verdict.ts";

/** How much is sent and how long things go wrong. */
export interface DrillOptions extends Omit<LoadPlan, "port"> {
  /** The length of whatever has one. */
  readonly lastMs: number;
  /** How long the product may take once things are back. */
  readonly graceMs: number;
}

/** How a drill ended. */
export interface DrillResult extends Verdict {
  readonly drill: string;
  readonly queue: string;
  readonly messages: number;
  /** Mails that may be doubled, by the number of workers that were killed. */
  readonly allowedDuplicates: number;
  /** How long it took until things were back, and from then, or from the end of the load, until all was settled. */
  readonly disturbedSeconds: number;
  readonly settledSeconds: number;
  /** Longest time from the closing dot to the 250. */
  readonly slowestSeconds: number;
  readonly errors: Readonly<Record<string, number>>;
  readonly passed: boolean;
}

const callsAtATime = 10;

/** Sends mail, lets something go wrong in the midst of it, waits until all is settled, and judges. */
export async function runDrill(
  stage: Stage,
  disturbance: Disturbance,
  options: DrillOptions,
): Promise<DrillResult> {
  const { messages, lastMs } = options;
  await using load = startLoad({ ...options, port: stage.system.smtpPort }, stage.folder);
  await untilAcked(load, messages * 0.3);
  const began = performance.now();
  await disturbance.act(stage, lastMs);
  const disturbedSeconds = seconds(performance.now() - began);
  const report = await load.ended;
  const ended = performance.now();
  await stage.settled(options.graceMs);
  const settledSeconds = seconds(performance.now() - ended);
  const verdict = await stage.verdict(load);
  const allowedDuplicates = callsAtATime * disturbance.workerKills;
  return {
    drill: disturbance.name,
    queue: disturbance.queue,
    messages,
    ...verdict,
    allowedDuplicates,
    disturbedSeconds,
    settledSeconds,
    slowestSeconds: seconds(report.dataTo250.max),
    errors: report.errors,
    passed: verdict.acked === messages && verdict.lost === 0 && verdict.invented === 0 &&
      verdict.duplicates <= allowedDuplicates,
  };
}

/** Resolves when so many messages are acknowledged, or when the load ends before. */
export async function untilAcked(load: LoadProcess, count: number): Promise<void> {
  let hasEnded = false;
  const end = () => hasEnded = true;
  load.ended.then(end, end);
  await until(async () => hasEnded || await load.acked() >= count, 600_000);
}

function seconds(ms: number): number {
  return Math.round(ms / 10) / 100;
}
