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
  /** How long it took until things were back each time, and from then, or from the end of the load, until all was settled. */
  readonly disturbedSeconds: number;
  readonly settledSeconds: number;
  /** Longest time from the closing dot to the 250. */
  readonly slowestSeconds: number;
  readonly errors: Readonly<Record<string, number>>;
  /** By how much the quota's count differs from the messages that were taken. */
  readonly miscounted: number;
  readonly passed: boolean;
}

const callsAtATime = 10;
const patienceMs = 900_000;

/** Sends mail, lets things go wrong one after another in the midst of it, waits until all is settled, and judges. */
export async function runDrill(
  stage: Stage,
  disturbances: readonly Disturbance[],
  options: DrillOptions,
): Promise<DrillResult> {
  const { messages, lastMs } = options;
  await using load = startLoad({ ...options, port: stage.system.smtpPort }, stage.folder);
  let disturbedMs = 0;
  for (const [index, disturbance] of disturbances.entries()) {
    await untilAcked(stage, load, messages * (0.2 + 0.6 * index / disturbances.length));
    const began = performance.now();
    await disturbance.act(stage, lastMs);
    disturbedMs += performance.now() - began;
  }
  await untilAcked(stage, load, Infinity);
  const report = await load.ended;
  const ended = performance.now();
  await stage.settled(options.graceMs);
  const settledSeconds = seconds(performance.now() - ended);
  const verdict = await stage.verdict(load);
  const miscounted = await quotaError(stage);
  const workerKills = disturbances.reduce((sum, disturbance) => sum + disturbance.workerKills, 0);
  const allowedDuplicates = callsAtATime * workerKills;
  return {
    drill: disturbances.map(({ name }) => name).join(" "),
    queue: stage.redis === undefined ? "postgres" : "redis",
    messages,
    ...verdict,
    allowedDuplicates,
    disturbedSeconds: seconds(disturbedMs),
    settledSeconds,
    slowestSeconds: seconds(report.dataTo250.max),
    errors: report.errors,
    miscounted,
    passed: verdict.acked === messages && verdict.lost === 0 && verdict.invented === 0 && miscounted === 0 &&
      verdict.duplicates <= allowedDuplicates,
  };
}

async function quotaError({ query }: Stage): Promise<number> {
  const [row] = await query(
    `select (select coalesce(sum(messages), 0) from usage)
      - (select count(*) from messages where status <> 'enqueue_failed') as difference`,
  );
  return Number(row?.["difference"]);
}

/** Resolves when so many messages are acknowledged or the load has ended; throws when a service is gone meanwhile. */
async function untilAcked(stage: Stage, load: LoadProcess, count: number): Promise<void> {
  const { smtpServer, queueWorker } = stage.system;
  let hasEnded = false;
  const end = () => hasEnded = true;
  load.ended.then(end, end);
  const isGone = () => !smtpServer.isRunning || !queueWorker.isRunning;
  const isOver = async () => hasEnded || isGone() || await load.acked() >= count;
  await until(isOver, patienceMs);
  if (isGone()) throw new Error("Cannot go on with a drill: a service has ended by itself");
}

function seconds(ms: number): number {
  return Math.round(ms / 10) / 100;
}
