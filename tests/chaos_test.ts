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
  graceMs: 60_000,
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

Deno.test("the product loses and doubles nothing when smtp-server is killed again and again, or doorbells are lost", async () => {
  await withStage({ queue: "postgres" }, async (stage) => {
    // Between which two steps of taking a message it dies is chance, and another one for each of the sessions.
    await suffer(stage, ["kill_smtp_server", "kill_smtp_server", "kill_smtp_server", "lose_doorbells"]);
  });
});

Deno.test("the product loses nothing when workers are killed, and doubles no more than they had in hand", async () => {
  await withStage({ queue: "postgres" }, async (stage) => {
    await suffer(stage, ["kill_queue_worker", "kill_queue_worker"]);
    await suffer(stage, ["kill_everything"]);
  });
});

Deno.test("the product loses and doubles nothing when PostgreSQL is killed, parts hang and doorbells ring too often", async () => {
  await withStage({ queue: "postgres" }, async (stage) => {
    await suffer(stage, ["kill_postgres", "pause_postgres", "double_doorbells"]);
    await suffer(stage, ["pause_smtp_server", "pause_queue_worker", "fill_disk", "lose_body_store"]);
  });
});

Deno.test("the product loses and doubles nothing when Redis is killed, hangs or forgets everything", async () => {
  await withStage({ queue: "redis" }, async (stage) => {
    await suffer(stage, ["kill_redis", "flush_redis", "pause_redis"]);
    await suffer(stage, ["kill_queue_worker_redis"]);
  });
});
