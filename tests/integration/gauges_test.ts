import assert from "node:assert/strict";
import { setGauges } from "../../services/queue-worker/gauges.ts";
import { Sweeper } from "../../services/queue-worker/sweep.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";

/** The values of one metric's labels, instance aside. */
async function shown(room: DeliveryRoom, name: string): Promise<Record<string, number>> {
  const lines = (await room.metrics.text()).matchAll(new RegExp(`^${name}\\{([^}]*)\\} (\\S+)$`, "gm"));
  return Object.fromEntries(
    [...lines].map((
      [, labels = "", value],
    ) => [/stat(?:us|e)="(\w+)"/.exec(labels)?.[1] ?? labels, Number(value)]),
  );
}

Deno.test("setGauges() counts queued, processing and dead messages while this worker sweeps, and tells nothing then", async () => {
  await using room = await DeliveryRoom.open();
  await using crew = room.crew();
  const ids = [];
  for (let n = 0; n < 6; n++) ids.push(await room.submit());
  const move = (id: string | undefined, change: string) =>
    room.owner.query(`update messages set ${change} where id = $1`, [id]);
  await move(ids[0], "status = 'failed', failure_code = 'refused'");
  await move(ids[1], "status = 'failed', failure_code = 'expired'");
  await move(ids[2], "status = 'storage_error'");
  await move(ids[3], "status = 'processing', claimed_until = now() + interval '1 hour'");
  await move(ids[4], "status = 'delivered'");
  let isCounting = true;
  const { memory, health } = crew;
  setGauges(room.metrics, { database: room.database, memory, health, isCounting: () => isCounting });
  assert.deepEqual(await shown(room, "queue_depth"), { queued: 1, processing: 1, failed: 3 });
  assert.deepEqual(Object.keys(await shown(room, "queue_oldest_age_seconds")), ["queued", "processing"]);
  assert.deepEqual(await shown(room, "provider_breakers"), { open: 0, probing: 0 });
  isCounting = false;
  assert.deepEqual(await shown(room, "queue_depth"), {});
  assert.deepEqual(await shown(room, "queue_oldest_age_seconds"), {});
  assert.deepEqual(await shown(room, "queue_messages_pending"), {});
});

Deno.test("Sweeper knows whether it is the one that sweeps", async () => {
  await using room = await DeliveryRoom.open();
  const { database, queue, log, metrics } = room;
  const options = { database, queue, log, metrics, sweepAfterMs: 300_000, roundMs: 20, askLockMs: 20 };
  const first = new Sweeper(options);
  while (!first.isSweeping) await new Promise((resolve) => setTimeout(resolve, 5));
  await using second = new Sweeper(options);
  assert.equal(second.isSweeping, false);
  await first[Symbol.asyncDispose]();
  while (!second.isSweeping) await new Promise((resolve) => setTimeout(resolve, 5));
});
