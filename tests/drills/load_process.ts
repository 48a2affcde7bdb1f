import { messageId } from "../bench/load_message.ts";
import type { LoadReport } from "../bench/load_tally.ts";
import { newRunName } from "../bench/load_options.ts";
import type { ClientSide } from "./verdict.ts";

/** What a client is to send. */
export interface LoadPlan {
  readonly port: number;
  readonly messages: number;
  /** Messages a second; 0 is as fast as the answers come. */
  readonly rate: number;
  readonly size: number;
  readonly recipients: number;
  readonly sessions: number;
  /** Messages of one connection, 100 when absent. */
  readonly perConnection?: number;
  /** The last so many are sent once `finish` was called, so that the load lasts until then. */
  readonly keep?: number;
}

/** A client that sends every message again until it is acknowledged, as a process of its own. */
export interface LoadProcess extends AsyncDisposable {
  /** Lets it send what it keeps back. */
  finish(): Promise<void>;
  /** Messages acknowledged so far, a fifth of a second late. */
  acked(): Promise<number>;
  /** Resolves with what it printed when it has sent everything. */
  readonly ended: Promise<LoadReport>;
  /** What it says of each message. */
  clientSide(): Promise<ClientSide>;
}

/** A client gives a message up after this long; a drill in which one does has failed. */
const giveUpSeconds = 240;

/** Starts a client; the lists of its messages go to the folder. */
export function startLoad(plan: LoadPlan, folder: string): LoadProcess {
  const run = newRunName();
  const idsFile = `${folder}/${run}`;
  const args = [
    `--port=${plan.port}`,
    `--total=${plan.messages}`,
    `--keep=${plan.keep ?? 0}`,
    `--rate=${plan.rate}`,
    `--size=${plan.size}`,
    `--recipients=${plan.recipients}`,
    `--sessions=${plan.sessions}`,
    `--per-connection=${plan.perConnection ?? 100}`,
    `--give-up=${giveUpSeconds}`,
    `--ids-file=${idsFile}`,
    `--run=${run}`,
    "--retry",
  ];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", new URL("../bench/load.ts", import.meta.url).pathname, ...args],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let hasEnded = false;
  const ended = child.output().then(({ success, stdout, stderr }): LoadReport => {
    hasEnded = true;
    if (success) return JSON.parse(new TextDecoder().decode(stdout));
    throw new Error(`Cannot send the load: ${new TextDecoder().decode(stderr)}`);
  });
  async function finish(): Promise<void> {
    if (!child.stdin.locked) await child.stdin.close().catch(ignoreClosed);
  }
  return {
    ended,
    finish,
    acked: async () => await sizeOf(idsFile) / (messageId(run, 0).length + 1),
    async clientSide() {
      const all = Array.from({ length: plan.messages }, (_, sequence) => messageId(run, sequence));
      const acked = await idsOf(idsFile);
      return {
        acked,
        uncertain: new Set(all.filter((id) => !acked.has(id))),
        resent: await idsOf(`${idsFile}.resent`),
        recipients: Array.from({ length: plan.recipients }, (_, index) => `user${index}@example.net`),
      };
    },
    async [Symbol.asyncDispose]() {
      if (!hasEnded) child.kill("SIGKILL");
      await ended.catch((error: unknown) => {
        if (!(error instanceof Error)) throw error; // told to whoever awaited it
      });
      await finish();
    },
  };
}

/** A pipe whose reader has ended, or that was closed before, is as closed as it can be. */
function ignoreClosed(error: unknown): void {
  if (!(error instanceof Deno.errors.BrokenPipe || error instanceof TypeError)) throw error;
}

async function sizeOf(path: string): Promise<number> {
  try {
    return (await Deno.stat(path)).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return 0;
    throw error;
  }
}

async function idsOf(path: string): Promise<ReadonlySet<string>> {
  try {
    return new Set((await Deno.readTextFile(path)).split("\n").filter((line) => line !== ""));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return new Set();
    throw error;
  }
}
