import { runLoad } from "./accept_case.ts";
import { runToJson, startChild } from "./child.ts";
import type { FloodReport } from "./flood.ts";
import type { LatencySummary } from "./latency.ts";
import { type Load, smallLoad } from "./load_kinds.ts";
import { cpuSecondsOf, peakResidentMiB, residentMiB } from "./measure.ts";
import type { Result } from "./result.ts";
import type { ShapeReport } from "./shape.ts";
import { shapeNames } from "./shapes.ts";
import type { System } from "./system.ts";

const bigBody = 25_000_000;
/** A byte a packet takes the sender minutes for 25 MB: fewer are sent and the server's CPU is scaled up. */
const slowBody = 500_000;
const idleMs = 3_000;

/** Latency at half of the rate that the server reaches at most. */
export async function* halfLoad(system: System, fullRate: number, seconds: number): AsyncGenerator<Result> {
  const rate = Math.round(fullRate / 2);
  const { report, values } = await runLoad(system.intake, smallLoad, [
    `--rate=${rate}`,
    `--seconds=${seconds}`,
  ]);
  const { errors, maxLateMs } = report;
  yield { case: "half", target: "smtp-server", load: "k100", values: { ...values, rate, maxLateMs }, errors };
}

/** Memory with fifty large messages at a time, and what stays after many small ones. */
export async function* memory(system: System, early: number, late: number): AsyncGenerator<Result> {
  const pid = system.smtpServerPid;
  const target = "smtp-server";
  await runLoad(system.intake, smallLoad, [`--total=${early}`]);
  const earlyMiB = residentMiB(pid);
  const { report } = await runLoad(system.intake, smallLoad, [`--total=${late - early}`]);
  const lateMiB = residentMiB(pid);
  const lateOfEarly = lateMiB / earlyMiB;
  yield {
    case: "memory",
    target,
    load: "k100",
    values: { earlyMiB, lateMiB, lateOfEarly },
    errors: report.errors,
  };
  const large: Load = { name: "50x25MB", messagesPerConnection: 2, size: bigBody };
  const run = await runLoad(system.intake, large, ["--sessions=50", "--total=100", "--timeout=300"]);
  const values = { ...run.values, peakRssMiB: peakResidentMiB(pid) };
  yield { case: "memory", target, load: large.name, values, errors: run.report.errors };
}

/** A known client beside 200 wrong logins a second. */
export async function* flood(system: System, seconds: number): AsyncGenerator<Result> {
  // Known is who has logged in before.
  await runLoad(system.intake, smallLoad, ["--sessions=2", "--total=20"]);
  const attackers = runToJson<FloodReport>("./flood.ts", [
    String(system.intake.port),
    "200",
    String(seconds + 4),
  ]);
  await new Promise((resolve) => setTimeout(resolve, 2_000));
  const known = ["--sessions=2", "--rate=50", `--seconds=${seconds}`];
  const { report, values } = await runLoad(system.intake, smallLoad, known);
  const { perSecond: wrongLogins, skipped, answers } = await attackers;
  const all = { ...values, wrongLogins, skipped };
  yield {
    case: "flood",
    target: "smtp-server",
    load: "k100",
    values: all,
    errors: { ...report.errors, ...answers },
  };
}

/** Bodies of awkward shapes: the server's CPU and what another session waits meanwhile. */
export async function* awkwardShapes({ intake, smtpServerPid }: System): AsyncGenerator<Result> {
  const login = [String(intake.port), intake.tls, intake.user, intake.password];
  await using probe = await startChild("./probe.ts", login);
  const askProbe = async (): Promise<LatencySummary> => JSON.parse(await probe.ask(""));
  const worst = { cpuSeconds: 0, otherDelay: 0 };
  const idlePerSecond = await idleCpu(smtpServerPid);
  for (const shape of shapeNames) {
    const bytes = shape === "byte-a-packet" ? slowBody : bigBody;
    await askProbe();
    const before = cpuSecondsOf([smtpServerPid]);
    const { reply, seconds } = await runToJson<ShapeReport>("./shape.ts", [...login, shape, String(bytes)]);
    // What the server and the probe cost anyway is no cost of the body: it counts most where few bytes take long.
    const used = cpuSecondsOf([smtpServerPid]) - before - idlePerSecond * seconds;
    // A body that was given up on costs no more, however long it would have gone on.
    const cpuSeconds = Math.max(0, used) * (reply.startsWith("250") ? bigBody / bytes : 1);
    const { max: otherDelay, p99: otherDelayP99 } = await askProbe();
    const values = { cpuSeconds, bytes, seconds, otherDelay, otherDelayP99, code: Number(reply.slice(0, 3)) };
    yield { case: "shapes", target: "smtp-server", load: shape, values };
    worst.cpuSeconds = Math.max(worst.cpuSeconds, cpuSeconds);
    worst.otherDelay = Math.max(worst.otherDelay, otherDelay);
  }
  yield { case: "shapes", target: "smtp-server", load: "worst", values: worst };
}

/** CPU seconds a second with the probe alone. */
async function idleCpu(pid: number): Promise<number> {
  const before = cpuSecondsOf([pid]);
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  return (cpuSecondsOf([pid]) - before) * 1_000 / idleMs;
}
