import { compareServers, runLoad } from "./accept_case.ts";
import { api, lists } from "./api_cases.ts";
import { openBareServer } from "./bare_target.ts";
import type { BenchOptions, CaseName } from "./bench_options.ts";
import { both, decay, drain } from "./delivery_cases.ts";
import { esps } from "./esp_cases.ts";
import { awkwardShapes, flood, halfLoad, memory } from "./intake_cases.ts";
import { login } from "./login_case.ts";
import { loads, smallLoad } from "./load_kinds.ts";
import { openPostfix, whyNoPostfix } from "./postfix.ts";
import { openSystem, type QueueKind } from "./product_system.ts";
import type { Result } from "./result.ts";
import { openSink } from "./sink_handle.ts";
import type { System } from "./system.ts";
import type { Certificate, Target } from "./target.ts";

/** What every case of a run has in common. */
export interface Bench {
  readonly options: BenchOptions;
  /** Emptied when the run is over. */
  readonly folder: string;
  readonly certificate: Certificate;
  /** What the run has measured so far. */
  readonly results: readonly Result[];
  note(text: string): void;
}

/** Failed logins of each kind whose medians are compared. */
const loginTries = 200;

/** Runs one case, on a database of its own, and answers each result when it is there. */
export async function* runCase(name: CaseName, bench: Bench): AsyncGenerator<Result> {
  if (name === "redis") return yield* withRedis(bench);
  if (name === "decay") return yield* decays(bench);
  if (name === "login") return yield* login(loginTries);
  if (name === "lists") return yield* lists(bench.folder, bench.options);
  if (name === "api") return yield* api(bench.folder, bench.options);
  await using system = await open(bench);
  yield* withSystem(name, system, bench);
}

async function* withSystem(
  name: Exclude<CaseName, "redis" | "decay" | "login" | "api" | "lists">,
  system: System,
  bench: Bench,
): AsyncGenerator<Result> {
  const { options, folder } = bench;
  switch (name) {
    case "accept":
      return yield* besidePeers(system, bench);
    case "half":
      return yield* halfLoad(system, await fullRate(system, bench), options.seconds * options.rounds);
    case "drain":
      return yield* drain(system, folder, options.stored);
    case "esps":
      return yield* esps(system, folder, options.stored);
    case "both":
      return yield* both(system, folder, options.bothSeconds);
    case "memory":
      return yield* memory(system, options.memoryEarly, options.memoryLate);
    case "flood":
      return yield* flood(system, options.seconds * options.rounds);
    case "shapes":
      return yield* awkwardShapes(system);
  }
}

function open({ folder, certificate }: Bench, queue: QueueKind = "postgres"): Promise<System> {
  return openSystem(folder, certificate, queue);
}

/** The product, a bare smtp-server and three ways to run Postfix, where there is one. */
async function* besidePeers(system: System, bench: Bench): AsyncGenerator<Result> {
  const { folder, certificate, options } = bench;
  await using peers = new AsyncDisposableStack();
  const targets: Target[] = [system.intake, peers.use(await openBareServer(certificate))];
  const absence = await whyNoPostfix();
  if (absence === undefined) {
    const sink = peers.use(await openSink(folder));
    targets.push(
      peers.use(await openPostfix(folder, { kind: "hold" }, certificate)),
      peers.use(await openPostfix(folder, { kind: "discard" }, certificate)),
      peers.use(await openPostfix(folder, { kind: "relay", port: sink.port }, certificate)),
    );
  } else {
    bench.note(`Without Postfix: ${absence}`);
  }
  yield* compareServers("accept", targets, loads, options);
}

async function* decays(bench: Bench): AsyncGenerator<Result> {
  const { decaySlices: slices, decaySliceSeconds: sliceSeconds } = bench.options;
  for (const isSnapshotOpen of [false, true]) {
    await using system = await open(bench);
    yield* decay(system, bench.folder, { slices, sliceSeconds, isSnapshotOpen });
  }
}

/** The rates that the issue wants beside those of the queue in PostgreSQL; none finds what the one before has left. */
async function* withRedis(bench: Bench): AsyncGenerator<Result> {
  yield* onRedis(bench, (system) => compareServers("accept", [system.intake], loads, bench.options));
  for await (const result of onRedis(bench, (system) => drain(system, bench.folder, bench.options.stored))) {
    yield renamed(result);
  }
  for await (
    const result of onRedis(bench, (system) => both(system, bench.folder, bench.options.bothSeconds))
  ) {
    yield renamed(result);
  }
}

async function* onRedis(
  bench: Bench,
  measure: (system: System) => AsyncGenerator<Result>,
): AsyncGenerator<Result> {
  await using system = await open(bench, "redis");
  yield* measure(system);
}

function renamed(result: Result): Result {
  return { ...result, target: `${result.target}+redis` };
}

/** What the server reaches at most: as this run has measured it, else measured now. */
async function fullRate(system: System, { results, options }: Bench): Promise<number> {
  const known = results.find((r) => r.case === "accept" && r.target === "smtp-server" && r.load === "k100");
  const measured = known?.values["perSecond"];
  if (measured !== undefined) return measured;
  await runLoad(system.intake, smallLoad, ["--seconds=2"]);
  return (await runLoad(system.intake, smallLoad, [`--seconds=${options.seconds}`])).report.perSecond;
}
