import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { type GroupId, type MessageId, newId, type UserId } from "../../lib/ids.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import type { Body } from "../../lib/store/body.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import type { BodyLabel, MessageStore } from "../../lib/store/message_store.ts";

/** One empty store, and what only its kind can do. */
export interface StoreUnderTest extends AsyncDisposable {
  readonly store: MessageStore;
  /** A second handle on the same bodies, as another process would have. */
  reopen(): Promise<MessageStore>;
  /** Changes one byte in the middle of a stored body. */
  damage(ref: StorageRef): Promise<void>;
  /** A well-formed reference to what this kind of store might have and does not. */
  unknown(): readonly StorageRef[];
}

/** A label nobody else has. */
export function newLabel(recipients: readonly string[] = ["to@example.org"]): BodyLabel {
  return {
    id: newId<MessageId>(),
    group: newId<GroupId>(),
    user: newId<UserId>(),
    mailFrom: "from@example.com",
    recipients,
  };
}

/** Bytes of every value, the same for the same seed. */
export function someBytes(size: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(size);
  let x = seed * 2_654_435_761 >>> 0;
  for (let at = 0; at < size; at++) {
    x = (Math.imul(x, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = x >>> 24;
  }
  return bytes;
}

/** Asserts that a body is there and holds exactly these bytes, however it is read. */
export async function assertHolds(body: Body | undefined, bytes: Uint8Array): Promise<void> {
  assert.ok(body, "the body is gone");
  assert.equal(body.size, bytes.length);
  assert.deepEqual(Buffer.from(body.sha256), createHash("sha256").update(bytes).digest());
  for (let time = 0; time < 2; time++) {
    assert.ok(Buffer.from(await body.bytes()).equals(bytes));
    assert.ok(Buffer.concat(await Array.fromAsync(body.stream())).equals(bytes));
  }
}

/** Everything that is promised of every `MessageStore`. */
export function messageStoreContract(kind: string, open: () => Promise<StoreUnderTest>): void {
  function check(promise: string, test: (under: StoreUnderTest) => Promise<void>): void {
    Deno.test(`${kind}: ${promise}`, async () => {
      await using under = await open();
      await test(under);
    });
  }

  for (const size of [0, 1, 10_240, 256 << 10, (256 << 10) + 1, 1 << 20, (3 << 20) + 7]) {
    check(`get() gives what put() took, ${size} bytes`, async ({ store, reopen }) => {
      const bytes = someBytes(size);
      const ref = await store.put(newLabel(), memoryBody(bytes));
      assert.notEqual(ref, "inline");
      await assertHolds(await store.get(ref), bytes);
      await using other = await reopen();
      await assertHolds(await other.get(ref), bytes);
    });
  }

  check("put() keeps concurrent bodies apart", async ({ store, reopen }) => {
    const bodies = Array.from({ length: 200 }, (_, index) => someBytes(index * 31, index));
    const refs = await Promise.all(bodies.map((bytes) => store.put(newLabel(), memoryBody(bytes))));
    assert.equal(new Set(refs).size, refs.length);
    await using other = await reopen();
    await Promise.all(refs.map(async (ref, index) => {
      await assertHolds(await store.get(ref), bodies[index] ?? new Uint8Array());
      await assertHolds(await other.get(ref), bodies[index] ?? new Uint8Array());
    }));
  });

  check("put() refuses a body whose stream is not what its checksum says", async ({ store }) => {
    const lie = memoryBody(someBytes(2 << 20), memoryBody(someBytes(2 << 20, 2)).sha256);
    await assert.rejects(store.put(newLabel(), lie));
    assert.deepEqual(await listed(store), []);
  });

  check("get() knows no body by a reference that nobody gave out", async ({ store, unknown }) => {
    await store.put(newLabel(), memoryBody(someBytes(100)));
    for (const ref of unknown()) assert.equal(await store.get(ref), undefined, ref);
  });

  check("get() takes a damaged small body for one that is gone", async ({ store, damage, reopen }) => {
    const [damaged, sound] = await Promise.all([1, 2].map((seed) => {
      return store.put(newLabel(), memoryBody(someBytes(5000, seed)));
    }));
    assert.ok(damaged && sound);
    await damage(damaged);
    await using other = await reopen();
    assert.equal(await other.get(damaged), undefined);
    await assertHolds(await other.get(sound), someBytes(5000, 2));
  });

  check("get() never passes a damaged large body off as sound", async ({ store, damage, reopen }) => {
    const ref = await store.put(newLabel(), memoryBody(someBytes(3 << 20)));
    await damage(ref);
    await using other = await reopen();
    const body = await other.get(ref);
    if (!body) return;
    await assert.rejects(body.bytes(), { name: "DamagedBody" });
    await assert.rejects(Array.fromAsync(body.stream()), { name: "DamagedBody" });
  });

  for (const size of [1000, 2 << 20]) {
    check(
      `remove() takes away one body of ${size} bytes and no other, as often as it is asked`,
      async ({ store }) => {
        const [first, second] = await Promise.all([1, 2].map((seed) => {
          return store.put(newLabel(), memoryBody(someBytes(size, seed)));
        }));
        assert.ok(first && second);
        await store.remove(first);
        await store.remove(first);
        assert.equal(await store.get(first), undefined);
        await assertHolds(await store.get(second), someBytes(size, 2));
      },
    );
  }

  check("remove() succeeds for what never was there", async ({ store, unknown }) => {
    for (const ref of unknown()) await store.remove(ref);
  });

  check("list() gives the label of every body that is not removed", async ({ store, reopen }) => {
    const labels = [newLabel([]), newLabel(["ä@example.org", "b@example.org"]), newLabel(), newLabel()];
    const sizes = [10, 0, 2 << 20, 77];
    const refs: StorageRef[] = [];
    for (const [index, label] of labels.entries()) {
      refs.push(await store.put(label, memoryBody(someBytes(sizes[index] ?? 0))));
    }
    await store.remove(refs[3] ?? "inline");
    await using other = await reopen();
    for (const from of [store, other]) {
      const found = new Map((await listed(from)).map(({ ref, label }) => [ref, label]));
      assert.equal(found.size, 3);
      for (const index of [0, 1, 2]) assert.deepEqual(found.get(refs[index] ?? "inline"), labels[index]);
    }
  });

  check("list() leaves out what was put later", async ({ store }) => {
    await store.put(newLabel(), memoryBody(someBytes(10)));
    await store.put(newLabel(), memoryBody(someBytes(2 << 20)));
    assert.deepEqual(await listed(store, new Date(Date.now() - 60_000)), []);
  });

  check("list() gives the oldest first", async ({ store }) => {
    const refs: StorageRef[] = [];
    for (let seed = 0; seed < 20; seed++) {
      refs.push(await store.put(newLabel(), memoryBody(someBytes(100, seed))));
    }
    assert.deepEqual((await listed(store)).map(({ ref }) => ref), refs);
  });
}

/** What a store has listed, put before a moment (in a minute when not given), with the labels read. */
export function listed(
  store: MessageStore,
  before = new Date(Date.now() + 60_000),
): Promise<{ readonly ref: StorageRef; readonly label: BodyLabel | undefined }[]> {
  return Array.fromAsync(store.list(before), async ({ id, ref, label }) => {
    const read = await label();
    assert.equal(read?.id, id);
    return { ref, label: read };
  });
}
