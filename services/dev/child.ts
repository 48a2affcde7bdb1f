import { until } from "./processes.ts";
import { projectFolder } from "./task_command.ts";

/** A program that runs beside others until it is stopped. */
export interface Child {
  readonly name: string;
  readonly pid: number;
  /** Resolves with the exit code, whatever the reason of the end. */
  readonly ended: Promise<number>;
  /** Asks it to stop, waits, and kills it after the limit. */
  stop(limitMs: number): Promise<void>;
}

/**
 * Starts a program with its standard input open to this process and never written to: its end tells the child that
 * this process is gone. It has a session of its own, so that Ctrl-C reaches this process alone.
 */
export function startChild(
  name: string,
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Child {
  const process = new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: { ...surroundings(), ...env },
    clearEnv: true,
    cwd: projectFolder,
    stdin: "piped",
    stdout: "inherit",
    stderr: "inherit",
    detached: true,
  }).spawn();
  let running = true;
  const ended = process.status.then(({ code }) => {
    running = false;
    return code;
  });
  return {
    name,
    pid: process.pid,
    ended,
    async stop(limitMs) {
      if (running) process.kill("SIGTERM");
      if (!(await until(() => !running, limitMs))) process.kill("SIGKILL");
      await ended;
      await process.stdin.close().catch(ignoreClosed);
    },
  };
}

/** The environment without our own variables: of those a child gets the ones it is given and no others. */
function surroundings(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(Deno.env.toObject()).filter(([name]) => !name.startsWith("SMTP_PROXY_")),
  );
}

/** Runs a program to its end; throws when it fails. */
export async function runToEnd(name: string, args: readonly string[], env: Readonly<Record<string, string>>) {
  const code = await startChild(name, args, env).ended;
  if (code !== 0) throw new Error(`Cannot go on: ${name} ended with status ${code}`);
}

/** A pipe whose reader is gone is as closed as it can be. */
function ignoreClosed(error: unknown): void {
  if (!(error instanceof Deno.errors.BrokenPipe || error instanceof TypeError)) throw error;
}
