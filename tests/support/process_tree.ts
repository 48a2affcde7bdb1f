import { isRunning, until } from "../../services/dev/processes.ts";

/** A process and all that descend from it now, parents first; Linux only, since it reads /proc. */
export async function processTree(root: number): Promise<readonly number[]> {
  const parents = new Map<number, number>();
  for await (const { name } of Deno.readDir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const parent = await parentIn(`/proc/${pid}/status`);
    if (parent !== undefined) parents.set(pid, parent);
  }
  const tree = [root];
  // The list grows while it is walked.
  for (const member of tree) for (const [pid, parent] of parents) if (parent === member) tree.push(pid);
  return tree;
}

/** Signals a process and all that descend from it; one that has ended meanwhile is passed over. */
export async function signalTree(root: number, signal: Deno.Signal): Promise<void> {
  for (const pid of await processTree(root)) {
    try {
      Deno.kill(pid, signal);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

/** Ends a process and all that descend from it (SIGKILL) and resolves when none of them runs. */
export async function killTree(root: number): Promise<void> {
  const pids = await processTree(root);
  await signalTree(root, "SIGKILL");
  const areGone = async () => !(await Promise.all(pids.map(isRunning))).includes(true);
  if (!(await until(areGone, 60_000))) throw new Error(`Cannot kill process ${root}: some of it still runs`);
}

async function parentIn(statusFile: string): Promise<number | undefined> {
  try {
    const text = await Deno.readTextFile(statusFile);
    return Number(/^PPid:\s*(\d+)$/m.exec(text)?.[1]);
  } catch (error) {
    // It has ended since it was listed; the kernel says either.
    if (error instanceof Deno.errors.NotFound || String(error).includes("os error 3")) return undefined;
    throw error;
  }
}
