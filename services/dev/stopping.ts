import { stopSignal } from "../../lib/stop_signal.ts";
import { launchersOf, watchLaunchers } from "./launcher.ts";

/** When this process is to stop. */
export interface Stopping extends Disposable {
  /** Aborted by SIGINT, SIGTERM or SIGHUP, or when what launched this process is gone (ruling 1.1). */
  readonly signal: AbortSignal;
  /** Resolves when the signal is aborted. */
  readonly begun: Promise<void>;
}

/** Begins to listen for reasons to stop. Once stopping, further signals change nothing: it takes a bounded time. */
export async function watchForStop(): Promise<Stopping> {
  const controller = new AbortController();
  const begun = Promise.withResolvers<void>();
  controller.signal.addEventListener("abort", () => begun.resolve());
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) Deno.addSignalListener(signal, ignore);
  stopSignal({ withParent: false, withTerminal: true }).then(() => controller.abort());
  const watch = watchLaunchers(await launchersOf(Deno.pid), () => controller.abort());
  return { signal: controller.signal, begun: begun.promise, [Symbol.dispose]: () => watch[Symbol.dispose]() };
}

function ignore(): void {}
