/** Why a process is to stop: a signal, or the end of the process that holds its standard input. */
export type StopReason = "SIGINT" | "SIGTERM" | "SIGHUP" | "parent";

/** What stops a process besides SIGINT and SIGTERM. */
export interface StopOptions {
  /** Also stop at the end of standard input, which comes when its writer ends, however it ends (ruling 1.1). */
  readonly withParent: boolean;
  /** Also stop on SIGHUP, for what runs in a terminal. */
  readonly withTerminal?: boolean;
}

const echoMs = 1000;

/**
 * Resolves with the first reason to stop. A second signal ends the process as if nobody listened, but not within a
 * second: who stops a whole process group and a launcher that passes signals on (`deno task`, npm) give each twice.
 */
export async function stopSignal({ withParent, withTerminal = false }: StopOptions): Promise<StopReason> {
  const { promise, resolve } = Promise.withResolvers<StopReason>();
  const signals: readonly (StopReason & Deno.Signal)[] = [
    "SIGINT",
    ...Deno.build.os === "windows" ? [] : ["SIGTERM" as const],
    ...withTerminal && Deno.build.os !== "windows" ? ["SIGHUP" as const] : [],
  ];
  const listeners = signals.map((signal) => ({ signal, heard: () => resolve(signal) }));
  for (const { signal, heard } of listeners) Deno.addSignalListener(signal, heard);
  const input = withParent ? Deno.stdin.readable.getReader() : undefined;
  if (input) void readToEnd(input).then(() => resolve("parent"));
  const reason = await promise;
  Deno.unrefTimer(setTimeout(() => {
    for (const { signal, heard } of listeners) Deno.removeSignalListener(signal, heard);
  }, echoMs));
  // A read that nobody waits for any more would keep the process alive.
  if (reason !== "parent") await input?.cancel();
  return reason;
}

async function readToEnd(input: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
  try {
    while (!(await input.read()).done);
  } catch (error) {
    // Standard input that was closed or cannot be read has no writer left to wait for.
    if (!(error instanceof Error)) throw error;
  }
}
