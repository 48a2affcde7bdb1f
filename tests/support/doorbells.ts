import assert from "node:assert/strict";
import { type GroupId, type MessageId, newId } from "../../lib/ids.ts";
import type { Doorbell, Lease, Queue } from "../../lib/queue/queue.ts";

/**
 * How long something is waited for that should come long before, in milliseconds: a queue that scans its lanes does so
 * for a twentieth of the time at most, also where one scan was held up for seconds.
 */
export const patienceMs = 180_000;

/** Takes until so many have come, up to `max` at a time. */
export async function reserveAll(
  queue: Queue,
  count: number,
  max: number,
  skip?: ReadonlySet<GroupId>,
): Promise<Lease[]> {
  const leases: Lease[] = [];
  while (leases.length < count) {
    const some = await queue.reserve(Math.min(max, count - leases.length), patienceMs, skip);
    assert.ok(some.length > 0, `only ${leases.length} of ${count} came`);
    leases.push(...some);
  }
  return leases;
}

/** Pushes one and then another that falls due before it; anew with longer delays where the two took too long. */
export async function pushCrossed(
  queue: Queue,
): Promise<{ readonly late: Doorbell; readonly soon: Doorbell }> {
  for (let delayMs = 300;; delayMs *= 2) {
    const [late, soon] = [bellOf(), bellOf()];
    const start = performance.now();
    await queue.push([late], 3 * delayMs);
    await queue.push([soon], delayMs);
    if (performance.now() - start < 1.9 * delayMs) return { late, soon };
    for (const lease of await reserveAll(queue, 2, 2)) await queue.done(lease);
  }
}

/** Resolves when the queue answers. */
export async function answering(queue: Queue): Promise<void> {
  for (;;) {
    try {
      return await queue.ping();
    } catch (error) {
      assert.ok(error instanceof Error);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** Works with all at a time; when one fails the others are told to end. */
export async function untilOneFails<Item>(
  items: readonly Item[],
  work: (item: Item, going: () => boolean) => Promise<void>,
): Promise<void> {
  let failed = false;
  await Promise.all(items.map(async (item) => {
    try {
      await work(item, () => !failed);
    } catch (error) {
      failed = true;
      throw error;
    }
  }));
}

/** New doorbells, all of one group or each of a group of its own. */
export function someBells(count: number, group?: GroupId): Doorbell[] {
  return Array.from({ length: count }, () => bellOf(group));
}

/** A new doorbell, of a new group when none is named. */
export function bellOf(group: GroupId = newId<GroupId>()): Doorbell {
  return { message: newId<MessageId>(), group };
}

/** What doorbells ring for, in an order of its own. */
export function namesOf(bells: readonly Doorbell[]): string[] {
  return bells.map(({ group, message }) => `${group} ${message}`).sort();
}
