import type { Metrics } from "./metrics.ts";

const intervalMs = 500;
const windowMs = 10_000;

/** Reports version, start, memory, descriptors and the delay of timers until it is disposed. */
export function watchProcess(
  metrics: Metrics,
  { service, version }: { readonly service: string; readonly version: string },
): Disposable {
  const { buildInfo, residentMemory, heap, startTime, openFiles, eventLoopLag } = metrics.process;
  buildInfo.set({ service, version }, 1);
  startTime.set(performance.timeOrigin / 1000);
  const lag = new LagWindow(windowMs);
  let expected = performance.now() + intervalMs;
  const timer = setInterval(() => {
    const now = performance.now();
    lag.add(now, Math.max(0, now - expected));
    expected = now + intervalMs;
  }, intervalMs);
  Deno.unrefTimer(timer);
  metrics.onScrape(() => {
    const { rss, heapUsed } = Deno.memoryUsage();
    residentMemory.set(rss);
    heap.set(heapUsed);
    const files = openDescriptors();
    if (files !== undefined) openFiles.set(files);
    const now = performance.now();
    // A loop that is blocked right now has not had its tick yet.
    eventLoopLag.set(Math.max(lag.longest(now), now - expected, 0) / 1000);
  });
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Deno lets nobody read /proc who has not every permission; whoever runs the process can count there as well. */
function openDescriptors(): number | undefined {
  if (Deno.build.os !== "linux") return undefined;
  try {
    return [...Deno.readDirSync("/proc/self/fd")].length;
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable || error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** The longest of the delays of the last while; times are milliseconds of one clock. */
export class LagWindow {
  readonly #windowMs: number;
  #delays: { readonly at: number; readonly delayMs: number }[] = [];

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  add(now: number, delayMs: number): void {
    this.#forget(now);
    this.#delays.push({ at: now, delayMs });
  }

  longest(now: number): number {
    this.#forget(now);
    return this.#delays.reduce((longest, { delayMs }) => Math.max(longest, delayMs), 0);
  }

  #forget(now: number): void {
    this.#delays = this.#delays.filter(({ at }) => at > now - this.#windowMs);
  }
}
