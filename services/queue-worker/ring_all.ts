import { listUnfinished, type Unfinished, type WalkPosition } from "../../lib/messages/orphans_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import type { Queue } from "../../lib/queue/queue.ts";
import { sleepFor } from "../../lib/retry.ts";

/** What ringing takes. */
export interface RingAllOptions {
  readonly sql: SystemSql;
  readonly queue: Queue;
  readonly signal: AbortSignal;
  /** Told of each page that was rung. */
  readonly onRung: (count: number) => void;
}

const pageSize = 1000;
/** At most 10,000 a second (ruling 3.6). */
const pageMs = 100;

/**
 * Rings every message that waits, those due first coming first; answers how many there were, or undefined when the
 * queue failed or the signal came before the last.
 */
export async function ringAll(options: RingAllOptions): Promise<number | undefined> {
  const { sql, signal, onRung } = options;
  let position: WalkPosition | undefined;
  let count = 0;
  for (;;) {
    const began = performance.now();
    const { messages, next } = await listUnfinished(sql, position, pageSize);
    if (!await ringPage(messages, options)) return undefined;
    count += messages.length;
    onRung(messages.length);
    if (next === undefined) return count;
    position = next;
    await sleepFor(Math.max(0, pageMs - (performance.now() - began)), signal);
    if (signal.aborted) return undefined;
  }
}

/** One push for those that are due, and one for each second in which others will be. */
async function ringPage(messages: readonly Unfinished[], { queue }: RingAllOptions): Promise<boolean> {
  const bySecond = Map.groupBy(messages, ({ delayMs }) => Math.ceil(delayMs / 1000));
  for (const [seconds, some] of bySecond) {
    const bells = some.map(({ id, group }) => ({ message: id, group }));
    const results = await queue.push(bells, seconds * 1000);
    if (!results.every((result) => result.ok)) return false;
  }
  return true;
}
