import { join } from "node:path";
import project from "../../deno.json" with { type: "json" };
import { projectFolder, taskArguments, type TaskName } from "../../services/dev/task_command.ts";
import { until } from "../../services/dev/processes.ts";

/** A program of the product that runs with the permissions of its task. */
export interface Program extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Where its output goes. */
  readonly logFile: string;
  readonly hasEnded: () => boolean;
}

const stopLimitMs = 40_000;
const readyLimitMs = 60_000;

/** Starts a program; `folder` stands where its task says `.data`, and takes what the program says. */
export function startProgram(name: string, folder: string, env: Readonly<Record<string, string>>): Program {
  const logFile = join(folder, `${name}.log`);
  // The shell hands the file over and is gone: what the program says costs this process nothing.
  const child = new Deno.Command("/bin/sh", {
    args: [
      "-c",
      'log=$1; shift; exec "$@" >>"$log" 2>&1',
      "sh",
      logFile,
      Deno.execPath(),
      ...wordsOf(name, folder),
    ],
    env: { ...env },
    cwd: projectFolder,
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  let ended = false;
  const end = child.status.then(() => ended = true);
  return {
    name,
    pid: child.pid,
    logFile,
    hasEnded: () => ended,
    async [Symbol.asyncDispose]() {
      if (!ended) child.kill("SIGTERM");
      if (!(await until(() => ended, stopLimitMs))) child.kill("SIGKILL");
      await end;
      await child.stdin.close();
    },
  };
}

/** Runs a program to its end; throws with what it said when it fails. */
export async function runProgram(
  name: string,
  args: readonly string[],
  folder: string,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...wordsOf(name, folder), ...args],
    env: { ...env },
    cwd: projectFolder,
    stdin: "null",
  }).output();
  if (success) return;
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes).trim()).join("\n");
  throw new Error(`Cannot run ${name}: it said: ${said}`);
}

/** Waits until the operations port says that the program is ready. */
export async function untilReady(program: Program, opsPort: number): Promise<void> {
  const isReady = async () => program.hasEnded() || await answersReady(opsPort);
  if (await until(isReady, readyLimitMs) && !program.hasEnded()) return;
  throw new Error(`Cannot start ${program.name}: it said: ${await Deno.readTextFile(program.logFile)}`);
}

async function answersReady(port: number): Promise<boolean> {
  try {
    const response = await fetch(`http://127.0.0.1:${port}/readyz`);
    await response.body?.cancel();
    return response.ok;
  } catch (error) {
    // Nothing listens yet.
    if (error instanceof TypeError) return false;
    throw error;
  }
}

function wordsOf(name: string, folder: string): readonly string[] {
  if (isTask(name)) return taskArguments(name, folder);
  throw new Error(`Cannot start ${name}: deno.json has no task of that name`);
}

function isTask(name: string): name is TaskName {
  return Object.hasOwn(project.tasks, name);
}
