import { readIfThere } from "./files.ts";

/** Whether a process runs; one that has ended and that nobody has waited for does not. */
export async function isRunning(pid: number): Promise<boolean> {
  const state = Deno.build.os === "linux"
    ? /^State:\s*(\S)/m.exec(await readIfThere(`/proc/${pid}/status`) ?? "")?.[1] ?? ""
    : await ask(pid, "stat");
  return state !== "" && !/^[ZX]/.test(state);
}

/** The command line of a process, its words joined by spaces; empty when there is no such process. */
export async function commandOf(pid: number): Promise<string> {
  if (Deno.build.os === "linux") {
    return (await readIfThere(`/proc/${pid}/cmdline`))?.replaceAll("\0", " ").trim() ?? "";
  }
  return await ask(pid, "args");
}

/** The parent of a process; undefined when there is no such process. */
export async function parentOf(pid: number): Promise<number | undefined> {
  const text = Deno.build.os === "linux"
    ? /^PPid:\s*(\d+)$/m.exec(await readIfThere(`/proc/${pid}/status`) ?? "")?.[1]
    : await ask(pid, "ppid");
  return text === undefined || text === "" ? undefined : Number(text);
}

/** The slow way, for systems without /proc; on Linux `ps` may be missing. */
async function ask(pid: number, field: "args" | "ppid" | "stat"): Promise<string> {
  const { stdout } = await new Deno.Command("ps", { args: ["-ww", "-o", `${field}=`, "-p", String(pid)] })
    .output();
  return new TextDecoder().decode(stdout).trim();
}

/** Asks again every 20 ms until the answer is true; false when the time is over first. */
export async function until(isSo: () => boolean | Promise<boolean>, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (!(await isSo())) {
    if (performance.now() > end) return false;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return true;
}
