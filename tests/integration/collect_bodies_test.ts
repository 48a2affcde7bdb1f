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

Deno.test("the collector leaves the rest for another time once much has failed", async () => {
  await using room = await DeliveryRoom.open();
  await room.submit();
  const { body, ...submission } = submissionOf(room.account);
  const label = { ...submission, recipients: [] };
  for (let n = 0; n < 100; n++) await room.store.put(label, body);
  let tries = 0;
  const { count, failure } = await collectBodies({
    sql: room.database.system,
    store: {
      list: (olderThan) => room.store.list(olderThan),
      remove: () => Promise.reject(new Error(`down ${++tries}`)),
    },
    signal: new AbortController().signal,
    nowMs: Date.now() + 25 * 3_600_000,
  });
  assert.equal(count, 0);
  assert.match(String(failure?.error), /down 1$/);
  assert.ok(tries < 100, `${tries} tries`);
});
