import { until } from "../../services/dev/processes.ts";
import type { DrillOptions } from "./drill.ts";
import { startLoad } from "./load_process.ts";
import { withStage } from "./stage.ts";
import type { Verdict } from "./verdict.ts";

/** How the product coped with a queue that was emptied while much was unfinished. */
export interface BacklogResult extends Verdict {
  readonly drill: "flush_backlog";
  readonly messages: number;
  /** Unfinished when the queue was emptied. */
  readonly unfinished: number;
  /** From then until the sink took mail again that had to be rung anew. */
  readonly resumedSeconds: number;
  /** From then until every unfinished message was rung. */
  readonly rungSeconds: number;
  readonly passed: boolean;
}

const patienceMs = 900_000;

/** Stores messages without a worker, starts one, empties Redis under load, and looks how soon delivery goes on. */
export async function backlogFlush(backlog: number, options: DrillOptions): Promise<BacklogResult> {
  const results: BacklogResult[] = [];
  await withStage({ queue: "redis", start: ["smtpServer"] }, async (stage) => {
    const { system, redis } = stage;
    const plan = { ...options, port: system.smtpPort, size: 1024 };
    await using stored = startLoad({ ...plan, messages: backlog, rate: 0 }, stage.folder);
    await stored.ended;
    await system.queueWorker.start();
    await using more = startLoad(plan, stage.folder);
    await until(async () => await stage.taken() > 0, patienceMs);
    await redis?.command("FLUSHALL");
    const flushedAt = performance.now();
    const [row] = await stage.query("select count(*) from messages where status in ('queued', 'processing')");
    // What was in hand ends without the queue; as many again cannot.
    const inHand = await stage.taken() + 200;
    await until(async () => await stage.taken() > inHand, patienceMs);
    const resumedSeconds = (performance.now() - flushedAt) / 1000;
    // Once when the worker first saw the queue, and once more.
    const isRung = async () => {
      await new Promise((resolve) => setTimeout(resolve, 250));
      return (await system.queueWorker.log()).split("queue rung anew").length > 2;
    };
    await until(isRung, patienceMs);
    const rungSeconds = (performance.now() - flushedAt) / 1000;
    await more.ended;
    await stage.settled(patienceMs);
    const [first, second] = [await stage.verdict(stored), await stage.verdict(more)];
    const verdict = sumOf(first, second);
    results.push({
      drill: "flush_backlog",
      messages: backlog + options.messages,
      unfinished: Number(row?.["count"]),
      resumedSeconds,
      rungSeconds,
      ...verdict,
      passed: verdict.lost + verdict.invented + verdict.duplicates === 0 && resumedSeconds <= 10 &&
        rungSeconds <= 60,
    });
  });
  const [result] = results;
  if (result === undefined) throw new Error("Cannot tell how the drill ended: it was not run");
  return result;
}

function sumOf(first: Verdict, second: Verdict): Verdict {
  return {
    acked: first.acked + second.acked,
    lost: first.lost + second.lost,
    invented: first.invented + second.invented,
    duplicates: first.duplicates + second.duplicates,
    resentDuplicates: first.resentDuplicates + second.resentDuplicates,
    dead: first.dead + second.dead,
    examples: [...first.examples, ...second.examples],
  };
}
