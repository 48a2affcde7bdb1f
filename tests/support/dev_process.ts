import { join } from "node:path";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { readIfThere } from "../../services/dev/files.ts";
import { commandOf, isRunning, until } from "../../services/dev/processes.ts";
import { projectFolder } from "../../services/dev/task_command.ts";
import { freePort } from "./ports.ts";
import { basicVariables } from "./run_program.ts";

/** A data folder for `dev` with ports of its own, removed with all that runs from it when disposed. */
export interface DevPlace extends AsyncDisposable {
  readonly folder: string;
  /** By the variable that sets each. */
  readonly ports: Readonly<Record<string, number>>;
  /** Every running process whose command names the folder: the services and PostgreSQL. */
  processes(): Promise<readonly { readonly pid: number; readonly command: string }[]>;
  /** The process of `dev` itself that uses the folder, or used it last. */
  devPid(): Promise<number>;
  /** The ports that somebody listens on. */
  taken(): readonly string[];
}

const portVariables = [
  "SMTP_PROXY_SMTP_PORT",
  "SMTP_PROXY_SMTP_IMPLICIT_TLS_PORT",
  "SMTP_PROXY_SMTP_OPS_PORT",
  "SMTP_PROXY_WORKER_OPS_PORT",
  "SMTP_PROXY_API_PORT",
  "SMTP_PROXY_API_OPS_PORT",
  "SMTP_PROXY_DEV_POSTGRES_PORT",
];

/** Makes the folder and chooses the ports. */
export async function devPlace(): Promise<DevPlace> {
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_dev_" });
  await Deno.chmod(folder, 0o711); // PostgreSQL may run as another user
  const ports = Object.fromEntries(portVariables.map((variable) => [variable, freePort()]));
  const processes = () => processesNaming(folder);
  return {
    folder,
    ports,
    processes,
    devPid: async () => Number(await readIfThere(join(folder, "lock"))),
    taken: () => portVariables.filter((variable) => isTaken(ports[variable] ?? 0)),
    async [Symbol.asyncDispose]() {
      const areGone = async () => {
        const left = await processes();
        for (const { pid } of left) kill(pid);
        return left.length === 0;
      };
      await until(areGone, 60_000);
      await removeCluster(join(folder, "postgres"));
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** `dev` as somebody started it. */
export interface DevRun {
  /** Of the process that was started, the leader of a process group of its own. */
  readonly pid: number;
  /** What it and its children printed so far. */
  readonly output: () => string;
  /** Resolves when the line `ready` was printed; throws when everything ended before. */
  readonly ready: Promise<void>;
  /** Resolves with the exit code of the process that was started. */
  readonly ended: Promise<number>;
  /** Resolves when nobody is left who could print anything. */
  readonly silent: Promise<void>;
}

/** An idle worker waits that long before it notices that it is to stop. */
const quick = { SMTP_PROXY_QUEUE_BLOCK_TIMEOUT: "200ms" };

/** Starts `dev` in a place: by npx as the README says, or by `deno task` alone. */
export async function startDev(
  place: DevPlace,
  how: "npx" | "task",
  env: Readonly<Record<string, string>> = {},
): Promise<DevRun> {
  const version = (await Deno.readTextFile(join(projectFolder, ".deno-version"))).trim();
  const [program, args] = how === "npx"
    ? ["npx", ["-y", `deno@${version}`, "task", "dev"]] as const
    : [Deno.execPath(), ["task", "dev"]] as const;
  const ports = Object.fromEntries(Object.entries(place.ports).map(([name, port]) => [name, String(port)]));
  const child = new Deno.Command(program, {
    args: [...args],
    env: { ...basicVariables(), ...ports, ...quick, SMTP_PROXY_DEV_DATA: place.folder, ...env },
    clearEnv: true,
    cwd: projectFolder,
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    detached: true,
  }).spawn();
  // Apart, because a line of the one may come in the midst of a line of the other.
  const output = ["", ""];
  const ready = Promise.withResolvers<void>();
  async function read(stream: ReadableStream<Uint8Array>, at: 0 | 1): Promise<void> {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      output[at] += text;
      if (/^ready$/m.test(output[at] ?? "")) ready.resolve();
    }
  }
  const silent = Promise.all([read(child.stdout, 0), read(child.stderr, 1)]).then(() => {
    ready.reject(new Error(`Cannot run dev; it said:\n${output.join("")}`));
  });
  // Who does not wait for it learns of the end by the output.
  ready.promise.catch(() => {});
  return {
    pid: child.pid,
    output: () => output.join(""),
    ready: ready.promise,
    ended: child.status.then(({ code }) => code),
    silent,
  };
}

function kill(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    // It has ended since it was listed.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function processesNaming(text: string): Promise<{ pid: number; command: string }[]> {
  const found = await Promise.all(
    (await allPids()).map(async (pid) => ({ pid, command: await commandOf(pid) })),
  );
  const named = found.filter(({ pid, command }) => pid !== Deno.pid && command.includes(text));
  const running = await Promise.all(named.map(({ pid }) => isRunning(pid)));
  return named.filter((_, index) => running[index]);
}

async function allPids(): Promise<readonly number[]> {
  if (Deno.build.os === "linux") {
    return (await Array.fromAsync(Deno.readDir("/proc"))).map(({ name }) => Number(name)).filter(
      Number.isInteger,
    );
  }
  const { stdout } = await new Deno.Command("ps", { args: ["-axo", "pid="] }).output();
  return new TextDecoder().decode(stdout).split("\n").filter((line) => line !== "").map(Number);
}

function isTaken(port: number): boolean {
  try {
    Deno.listen({ hostname: "127.0.0.1", port }).close();
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) return true;
    throw error;
  }
}
