import { type Child, startChild } from "./child.ts";
import type { SinkCounts } from "./sink_tally.ts";

/** The receiving end as a process of its own. */
export interface Sink extends AsyncDisposable {
  readonly pid: number;
  readonly port: number;
  counts(): Promise<SinkCounts>;
  /** Waits until so many ids have come or nothing came for `patienceSeconds`. */
  waitFor(uniqueIds: number, patienceSeconds: number): Promise<SinkCounts>;
  /** How what came differs from the ids that were acknowledged. */
  compare(idsFile: string): Promise<Difference>;
}

/** What must be nothing: acknowledged but not delivered, delivered but never sent, delivered more than once. */
export interface Difference {
  readonly lost: number;
  readonly invented: number;
  readonly duplicates: number;
}

const lookEveryMs = 250;

/** Starts a sink on a free port; `folder` takes the list of ids when they are compared. */
export async function openSink(folder: string, speaks: "smtp" | "http" = "smtp"): Promise<Sink> {
  const child = await startChild(speaks === "smtp" ? "./sink.ts" : "./http_sink.ts", []);
  const counts = async (): Promise<SinkCounts> => JSON.parse(await child.ask(""));
  return {
    pid: child.pid,
    port: child.port,
    counts,
    async waitFor(uniqueIds, patienceSeconds) {
      let latest = await counts();
      for (
        let idleMs = 0;
        latest.uniqueIds < uniqueIds && idleMs < patienceSeconds * 1_000;
        idleMs += lookEveryMs
      ) {
        await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
        const now = await counts();
        if (now.messages !== latest.messages) idleMs = 0;
        latest = now;
      }
      return latest;
    },
    compare: (idsFile) => compareIds(child, `${folder}/delivered-${crypto.randomUUID()}`, idsFile),
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

/** Ids that the client gave up on may or may not have been delivered: they are neither lost nor invented. */
async function compareIds(child: Child, deliveredFile: string, idsFile: string): Promise<Difference> {
  await child.ask(deliveredFile);
  const delivered = new Map((await linesOf(deliveredFile)).map((line) => {
    const [id = "", times] = line.split(" ");
    return [id, Number(times)];
  }));
  await Deno.remove(deliveredFile);
  const acked = new Set(await linesOf(idsFile));
  const uncertain = new Set([
    ...await linesOf(`${idsFile}.doubtful`),
    ...await linesOf(`${idsFile}.refused`),
  ]);
  const resent = new Set(await linesOf(`${idsFile}.resent`));
  return {
    lost: [...acked].filter((id) => !delivered.has(id)).length,
    invented: [...delivered.keys()].filter((id) => !acked.has(id) && !uncertain.has(id)).length,
    duplicates: [...delivered].filter(([id, times]) => times > 1 && !resent.has(id)).length,
  };
}

async function linesOf(path: string): Promise<string[]> {
  return (await Deno.readTextFile(path)).split("\n").filter((line) => line !== "");
}
