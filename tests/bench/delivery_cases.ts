import { runLoad } from "./accept_case.ts";
import { smallLoad } from "./load_kinds.ts";
import { ProcessWatch } from "./measure.ts";
import type { Result } from "./result.ts";
import { openSink } from "./sink_handle.ts";
import type { BenchedEsp, System } from "./system.ts";

const patienceSeconds = 30;

/** Stores messages without a worker, then measures how fast one drains them into the sink. */
export async function* drain(system: System, folder: string, stored: number): AsyncGenerator<Result> {
  const { values, errors } = await drainInto("smtp", system, folder, stored);
  yield { case: "drain", target: "queue-worker", load: "k100", values, errors };
}

/** The same for a sink of any kind. */
export async function drainInto(
  esp: BenchedEsp,
  system: System,
  folder: string,
  stored: number,
): Promise<Required<Pick<Result, "values" | "errors">>> {
  const idsFile = `${folder}/drain-ids-${crypto.randomUUID()}`;
  const { report } = await runLoad(system.intake, smallLoad, [`--total=${stored}`, `--ids-file=${idsFile}`]);
  await using sink = await openSink(folder, esp === "smtp" ? "smtp" : "http");
  await using worker = await system.startWorker(sink.port, esp);
  const watch = new ProcessWatch([worker.pid, ...system.intake.pids]);
  const counts = await sink.waitFor(report.acked, patienceSeconds);
  const { cpuSeconds, ...memory } = watch.end();
  const values = {
    perSecond: counts.messages / counts.seconds,
    delivered: counts.messages,
    cpuSecondsPer1000: cpuSeconds * 1_000 / counts.messages,
    ...memory,
    ...await sink.compare(idsFile),
  };
  return { values, errors: report.errors };
}

/** Accepts and delivers at once, as fast as both go. */
export async function* both(system: System, folder: string, seconds: number): AsyncGenerator<Result> {
  const idsFile = `${folder}/both-ids`;
  await using sink = await openSink(folder);
  await using worker = await system.startWorker(sink.port);
  const watch = new ProcessWatch([worker.pid, ...system.intake.pids]);
  const { report, values } = await runLoad(system.intake, smallLoad, [
    `--seconds=${seconds}`,
    `--ids-file=${idsFile}`,
  ]);
  const inTime = await sink.counts();
  const { cpuSeconds, ...memory } = watch.end();
  const atLast = await sink.waitFor(report.acked, patienceSeconds);
  const all = {
    ...values,
    deliveredOfAccepted: inTime.messages / report.acked,
    deliveredPerSecond: inTime.messages / report.seconds,
    cpuSecondsPer1000: cpuSeconds * 1_000 / report.acked,
    ...memory,
    deliveredAtLast: atLast.messages,
    ...await sink.compare(idsFile),
  };
  yield { case: "both", target: "system", load: "k100", values: all, errors: report.errors };
}

/** Whether the last slice of a long run is as fast as the first, for accepting and for delivering. */
export async function* decay(
  system: System,
  folder: string,
  { slices, sliceSeconds, isSnapshotOpen }: DecayOptions,
): AsyncGenerator<Result> {
  await using sink = await openSink(folder);
  await using _worker = await system.startWorker(sink.port);
  await using _snapshot = isSnapshotOpen ? await system.openSnapshot() : undefined;
  const { report, values } = await runLoad(system.intake, smallLoad, [
    `--seconds=${slices * sliceSeconds}`,
    `--slice=${sliceSeconds}`,
  ]);
  const { bySecond } = await sink.counts();
  const rateOf = (slice: number) => {
    const seconds = bySecond.slice(slice * sliceSeconds, (slice + 1) * sliceSeconds);
    return seconds.reduce((sum, messages) => sum + messages, 0) / sliceSeconds;
  };
  const firstAccepted = (report.ackedBySlice[0] ?? 0) / sliceSeconds;
  const lastAccepted = (report.ackedBySlice[slices - 1] ?? 0) / sliceSeconds;
  const [firstDelivered, lastDelivered] = [rateOf(0), rateOf(slices - 1)];
  const lastOfFirst = Math.min(lastAccepted / firstAccepted, lastDelivered / firstDelivered);
  const all = { ...values, firstAccepted, lastAccepted, firstDelivered, lastDelivered, lastOfFirst };
  const load = isSnapshotOpen ? "k100-snapshot" : "k100";
  yield { case: "decay", target: "system", load, values: all, errors: report.errors };
}

/** How long a decay run is; the bar speaks of ten slices of a minute. */
export interface DecayOptions {
  readonly slices: number;
  readonly sliceSeconds: number;
  readonly isSnapshotOpen: boolean;
}
