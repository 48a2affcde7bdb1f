// Nothing acknowledged is lost, in small; `deno task drill` does the same in large. The product runs as real processes
// on a PostgreSQL that syncs, the client sends again what it has no 250 for, and the sink counts.
import assert from "node:assert/strict";
import { disturbanceOf } from "./drills/disturbances.ts";
import { runDrill } from "./drills/drill.ts";
import { type Stage, withStage } from "./drills/stage.ts";

const small = {
  messages: 400,
  rate: 100,
  size: 2000,
  recipients: 2,
  sessions: 8,
  lastMs: 1500,
  graceMs: 180_000,
} as const;

/** Lets things go wrong in turn and asserts what the sink counted. */
async function suffer(stage: Stage, names: readonly string[]): Promise<void> {
  const result = await runDrill(stage, names.map(disturbanceOf), small);
  const { acked, lost, invented, miscounted, duplicates, allowedDuplicates } = result;
  const counted = JSON.stringify(result);
  assert.deepEqual(
    { acked, lost, invented, miscounted },
    { acked: small.messages, lost: 0, invented: 0, miscounted: 0 },
    counted,
  );
  assert.ok(duplicates <= allowedDuplicates, counted);
}

/** Products of their own, which suffer beside each other: most of the time they wait for what a crash has left. */
const ordeals = [
  // Between which two steps of taking a message it dies is chance, and another one for each of the sessions.
  ["postgres", ["kill_smtp_server", "kill_smtp_server", "kill_smtp_server", "lose_doorbells"]],
  ["postgres", ["kill_queue_worker", "kill_queue_worker", "kill_everything"]],
  ["postgres", ["kill_postgres", "pause_postgres", "double_doorbells", "fill_disk", "lose_body_store"]],
  ["redis", ["kill_redis", "flush_redis", "pause_redis", "pause_smtp_server", "pause_queue_worker"]],
  ["redis", ["kill_queue_worker_redis", "flush_redis", "kill_postgres"]],
] as const;

Deno.test("the product loses nothing acknowledged and doubles no more than a killed worker had in hand", async () => {
  await Promise.all(ordeals.map(async ([queue, names]) => {
    await withStage({ queue }, (stage) => suffer(stage, names));
  }));
});
