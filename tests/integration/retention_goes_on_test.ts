import assert from "node:assert/strict";
import type { StorageRef } from "../../lib/messages/message.ts";
import { Retention } from "../../services/queue-worker/retention.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { addOldMessage, openRoomWithOldWeeks } from "../support/old_weeks.ts";
import { submissionOf } from "../support/submissions.ts";
import { until } from "../support/until.ts";

const hour = 3_600_000;
const day = 24 * hour;

/** Adds an orphan that cannot be removed; answers the tries to do so, and what a job needs to find it at once. */
async function addStuckBody(room: DeliveryRoom) {
  await room.submit(); // a young one, so that the database knows some
  const submission = submissionOf(room.account);
  const orphan = await room.store.put({ ...submission, recipients: [] }, submission.body);
  const tries = { count: 0 };
  const store = {
    list: (olderThan: Date) => room.store.list(olderThan),
    remove: (ref: StorageRef) => {
      if (ref !== orphan) return room.store.remove(ref);
      tries.count++;
      return Promise.reject(new Error("AccessDenied"));
    },
  };
  const { database, log } = room;
  const terms = { bodies: { unansweredMs: 2 * hour }, rowsMs: 90 * day };
  const times = { roundMs: 10, askLockMs: 10, collectAfterMs: 0, now: () => Date.now() + 25 * hour };
  return { tries, options: { database, store, log, terms, ...times } };
}

Deno.test("a body that cannot be removed in any round keeps no old weeks", async () => {
  await using room = await openRoomWithOldWeeks();
  for (const daysAgo of [122, 130]) await addOldMessage(room, daysAgo);
  const { tries, options } = await addStuckBody(room);
  await using _job = new Retention({ ...options, collectAgainMs: 0 });
  const weeks = () =>
    room.owner.query("select 1 from pg_class where relname in ('messages_old', 'messages_older')", []);
  await until("the old weeks are gone", async () => (await weeks()).length === 0);
  await until("it has been tried again", () => tries.count > 1);
});

Deno.test("a body that cannot be removed is not looked for in every round", async () => {
  await using room = await DeliveryRoom.open();
  const { tries, options } = await addStuckBody(room);
  let looks = 0;
  await using _job = new Retention({ ...options, now: () => (looks++, options.now()) });
  await until("some rounds have passed", () => looks > 50);
  assert.equal(tries.count, 1);
});
