import { readdirSync, readFileSync } from "node:fs";

/** What a group of processes used between `begin` and `end`. */
export interface Usage {
  readonly cpuSeconds: number;
  /** Resident memory summed over the processes, at its highest; shared pages count once for each. */
  readonly peakRssMiB: number;
  /** The same with shared pages counted once; only sampled each second. */
  readonly peakPssMiB: number;
}

const ticksPerSecond = 100;
const sampleMs = 250;
const samplesPerPss = 4;

/** Watches processes and all their descendants through /proc, where Linux has it. */
export class ProcessWatch {
  readonly #roots: readonly number[];
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #cpuBefore: number;
  #samples = 0;
  #peakRss = 0;
  #peakPss = 0;

  constructor(roots: readonly number[]) {
    this.#roots = roots;
    this.#cpuBefore = cpuSecondsOf(roots);
    this.#sample();
    this.#timer = setInterval(() => this.#sample(), sampleMs);
  }

  end(): Usage {
    clearInterval(this.#timer);
    this.#sample();
    return {
      cpuSeconds: cpuSecondsOf(this.#roots) - this.#cpuBefore,
      peakRssMiB: Math.round(this.#peakRss),
      peakPssMiB: Math.round(this.#peakPss),
    };
  }

  #sample(): void {
    const tree = withDescendants(this.#roots);
    this.#peakRss = Math.max(this.#peakRss, sum(tree.map(residentMiB)));
    if (this.#samples++ % samplesPerPss === 0) {
      this.#peakPss = Math.max(this.#peakPss, sum(tree.map(proportionalMiB)));
    }
  }
}

/** CPU seconds of the processes, of their descendants and of descendants already gone. */
export function cpuSecondsOf(roots: readonly number[]): number {
  return sum(
    withDescendants(roots).map((pid) => {
      const stat = read(`/proc/${pid}/stat`);
      // proc(5): the name in parentheses may hold anything; utime, stime, cutime and cstime are fields 14 to 17.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      return sum(fields.slice(11, 15).map(Number)) / ticksPerSecond;
    }),
  );
}

/** CPU seconds that the whole machine has spent since it started, waiting and idling left out. */
export function machineCpuSeconds(): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = read("/proc/stat").split("\n")[0]
    ?.split(/\s+/).map(Number) ?? [];
  return (user + nice + system + irq + softirq) / ticksPerSecond;
}

const restMs = 500;
const restCores = 0.1;
const mostRests = 120;

/** Resolves when the machine has done next to nothing for half a second; after a minute without that all the same. */
export async function machineAtRest(): Promise<void> {
  for (let i = 0; i < mostRests; i++) {
    const before = machineCpuSeconds();
    await new Promise((resolve) => setTimeout(resolve, restMs));
    if (machineCpuSeconds() - before < restCores * restMs / 1_000) return;
  }
}

/** Resident memory of one process in MiB; 0 when it is gone. */
export function residentMiB(pid: number): number {
  return kibibytes(read(`/proc/${pid}/status`), "VmRSS") / 1_024;
}

/** The highest resident memory that one process ever had, in MiB; 0 when it is gone. */
export function peakResidentMiB(pid: number): number {
  return kibibytes(read(`/proc/${pid}/status`), "VmHWM") / 1_024;
}

function proportionalMiB(pid: number): number {
  return kibibytes(read(`/proc/${pid}/smaps_rollup`), "Pss") / 1_024;
}

function withDescendants(roots: readonly number[]): number[] {
  return roots.flatMap((pid) => [pid, ...withDescendants(childrenOf(pid))]);
}

function childrenOf(pid: number): number[] {
  return threadsOf(pid).flatMap((thread) =>
    read(`/proc/${pid}/task/${thread}/children`).split(" ").filter((text) => text !== "").map(Number)
  );
}

function threadsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch (error) {
    return goneOr(error, []);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    return goneOr(error, "");
  }
}

/** A process may end between being listed and being read: then it has nothing any more. */
function goneOr<T>(error: unknown, nothing: T): T {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  if (code === "ENOENT" || code === "ESRCH") return nothing;
  throw error;
}

function kibibytes(text: string, field: string): number {
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(text)?.[1] ?? 0);
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
