import { sleepFor } from "../../lib/retry.ts";

const pauseMs = 20;

/** Repeats a step until it finds less than a portion, others having their turn in between; how many rows went. */
export async function inPortions(
  step: () => Promise<number>,
  portion: number,
  signal: AbortSignal,
): Promise<number> {
  let removed = 0;
  while (!signal.aborted) {
    const count = await step();
    removed += count;
    if (count < portion) break;
    await sleepFor(pauseMs, signal);
  }
  return removed;
}
