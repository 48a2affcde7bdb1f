import assert from "node:assert/strict";
import type { StorageRef } from "../../lib/messages/message.ts";
import type { MessageStore, StoredBody } from "../../lib/store/message_store.ts";
import { collectBodies } from "../../services/queue-worker/collect_bodies.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { submissionOf } from "../support/submissions.ts";

type Store = Pick<MessageStore, "list" | "remove">;

/** What is wrong with a store of many orphans, given one of them. */
const troubles: Readonly<Record<string, (store: Store, stuck: StorageRef) => Partial<Store>>> = {
  "one body cannot be removed": (store, stuck) => ({
    remove: (ref) => ref === stuck ? Promise.reject(new Error("AccessDenied")) : store.remove(ref),
  }),
  "one label cannot be read": (store, stuck) => ({
    async *list(olderThan) {
      const broken = () => Promise.reject(new Error("AccessDenied"));
      for await (const body of store.list(olderThan)) {
        yield body.ref === stuck ? { ...body, label: broken } : body;
      }
    },
  }),
  "the list fails before its end": (store, stuck) => ({
    async *list(olderThan): AsyncGenerator<StoredBody> {
      for await (const body of store.list(olderThan)) if (body.ref !== stuck) yield body;
      throw new Error("AccessDenied");
    },
  }),
};

for (const [trouble, troubled] of Object.entries(troubles)) {
  Deno.test(`the collector removes all the others although ${trouble}, and tells of both`, async () => {
    await using room = await DeliveryRoom.open();
    await room.submit();
    const { body, ...submission } = submissionOf(room.account);
    const label = { ...submission, recipients: [] };
    const refs = await Promise.all(Array.from({ length: 100 }, () => room.store.put(label, body)));
    const [stuck] = refs;
    assert.ok(stuck);
    const store: Store = {
      list: (olderThan) => room.store.list(olderThan),
      remove: (ref) => room.store.remove(ref),
    };
    const collected = await collectBodies({
      sql: room.database.system,
      store: { ...store, ...troubled(store, stuck) },
      signal: new AbortController().signal,
      nowMs: Date.now() + 25 * 3_600_000,
    });
    assert.equal(collected.count, 99);
    assert.match(String(collected.failure?.error), /AccessDenied/);
    const left = await Promise.all(refs.map((ref) => room.store.get(ref)));
    assert.deepEqual(left.flatMap((one, index) => one === undefined ? [] : [refs[index]]), [stuck]);
  });
}

/** Bodies that cannot be removed, what a try takes, and how many of a thousand are removed; then it is given up. */
const stuckOnes = [
  { stuck: 900, ms: 10, removed: 100 },
  { stuck: 1000, ms: 10, removed: 0 },
  { stuck: 900, ms: 10_000, removed: 0 },
] as const;

for (const { stuck, ms, removed } of stuckOnes) {
  const time = `${ms} ms each`;
  Deno.test(`the collector goes past ${stuck} bodies stuck for ${time}: ${removed} removed`, async () => {
    await using room = await DeliveryRoom.open();
    await room.submit();
    const { body, ...submission } = submissionOf(room.account);
    const label = { ...submission, recipients: [] };
    const refs = await Promise.all(Array.from({ length: 1000 }, () => room.store.put(label, body)));
    const tried = new Set<StorageRef>();
    let elapsed = 0;
    const { count, failure } = await collectBodies({
      sql: room.database.system,
      store: {
        list: (olderThan) => room.store.list(olderThan),
        remove: (ref) => {
          tried.add(ref);
          if (tried.size > stuck) return room.store.remove(ref);
          elapsed += ms;
          return Promise.reject(new Error("held"));
        },
      },
      signal: new AbortController().signal,
      nowMs: Date.now() + 25 * 3_600_000,
      clock: () => elapsed,
    });
    assert.match(String(failure?.error), /held/);
    assert.equal(count, removed);
    // As many as are removed at a time.
    assert.equal(tried.size, ms < 10_000 ? refs.length : 32);
  });
}
