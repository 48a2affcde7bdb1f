import assert from "node:assert/strict";
import { join } from "node:path";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { placeOf } from "../../lib/store/segment_ref.ts";
import { assertHolds, listed, newLabel, someBytes } from "../contracts/message_store_contract.ts";
import { flipByte, inAnHour, openTestStore, putSome } from "../support/local_stores.ts";

Deno.test("local store: a torn tail is skipped, and its segment goes with its last body", async () => {
  await using test = await openTestStore();
  const refs = await putSome(test.store, 3, 1000);
  const file = test.fileOf(refs[0] ?? "");
  await Deno.truncate(file, (await Deno.stat(file)).size - 300);
  const store = await test.reopen({ now: inAnHour });
  const gone = (await Promise.all(refs.map((ref) => store.get(ref)))).filter((body) => !body);
  assert.equal(gone.length, 1);
  const found = await listed(store);
  assert.equal(found.length, 2);
  for (const { ref } of found) await store.remove(ref);
  assert.deepEqual(await test.files(), []);
});

Deno.test("local store: a segment goes with its last body, by whichever process that is removed", async () => {
  await using test = await openTestStore();
  const refs = await putSome(test.store, 50, 500);
  const stores = await Promise.all([1, 2].map(() => test.reopen({ now: inAnHour })));
  for (const [index, ref] of refs.slice(1).entries()) await stores[index % 2]?.remove(ref);
  assert.equal((await test.files()).length, 2);
  await assertHolds(await stores[0]?.get(refs[0] ?? "inline"), someBytes(500, 0));
  await stores[1]?.remove(refs[0] ?? "inline");
  assert.deepEqual(await test.files(), []);
  assert.equal(await stores[0]?.get(refs[1] ?? "inline"), undefined);
});

Deno.test("local store: a segment that may still grow stays until it is settled", async () => {
  let now = Date.now();
  await using test = await openTestStore({ now: () => now });
  const [first] = await putSome(test.store, 1, 500);
  await test.store.remove(first ?? "inline");
  assert.equal((await test.files()).length, 2);
  const second = await test.store.put(newLabel(), memoryBody(someBytes(700)));
  assert.equal(test.fileOf(second), test.fileOf(first ?? ""));
  now = inAnHour();
  assert.deepEqual((await listed(test.store)).map(({ ref }) => ref), [second]);
  await assertHolds(await test.store.get(second), someBytes(700));
  await test.store.remove(second);
  assert.deepEqual(await test.files(), []);
});

Deno.test("local store: list() deletes a settled segment whose removal was interrupted", async () => {
  await using test = await openTestStore();
  for (const ref of await putSome(test.store, 3, 500)) await test.store.remove(ref);
  const store = await test.reopen({ now: inAnHour });
  assert.deepEqual(await listed(store), []);
  assert.deepEqual(await test.files(), []);
});

Deno.test("local store: empty folders go with the last segment of their day", async () => {
  const inAWeek = () => Date.now() + 7 * 86_400_000;
  await using test = await openTestStore();
  const refs = await putSome(test.store, 2, 500);
  const large = await test.store.put(newLabel(), memoryBody(someBytes(2 << 20)));
  const day = join(test.path, placeOf(large)?.path.slice(0, 10) ?? "");
  const store = await test.reopen({ now: inAWeek });
  for (const ref of refs) await store.remove(ref);
  assert.ok(await Deno.stat(day));
  await store.remove(large);
  await assert.rejects(Deno.stat(day), { name: "NotFound" });
  assert.deepEqual(await listed(store), []);
});

Deno.test("local store: list() clears away marks whose segment is gone", async () => {
  await using test = await openTestStore();
  const refs = await putSome(test.store, 2, 500);
  await test.store.remove(refs[0] ?? "inline");
  await Deno.remove(test.fileOf(refs[0] ?? ""));
  assert.equal((await test.files()).length, 1);
  assert.deepEqual(await listed(test.store), []);
  assert.deepEqual(await test.files(), []);
});

Deno.test("local store: a torn mark removes nothing", async () => {
  await using test = await openTestStore();
  const refs = await putSome(test.store, 2, 100_000);
  const marks = `${test.fileOf(refs[0] ?? "")}.gone`;
  const whole = `\n${refs[1]?.split("#")[1]};`;
  await Deno.writeTextFile(marks, whole.slice(0, -1));
  const store = await test.reopen({ now: inAnHour });
  assert.equal((await listed(store)).length, 2);
  await store.remove(refs[0] ?? "inline");
  assert.deepEqual((await listed(store)).map(({ ref }) => ref), [refs[1]]);
});

Deno.test("local store: a segment with bodies behind damage is never deleted by marks", async () => {
  await using test = await openTestStore();
  const first = await test.store.put(newLabel(), memoryBody(someBytes(500)));
  const second = await test.store.put(newLabel(), memoryBody(someBytes(500, 2)));
  const third = await test.store.put(newLabel(), memoryBody(someBytes(500, 3)));
  await flipByte(test.fileOf(second), (placeOf(first)?.offset ?? 0) + 500 + 20);
  const store = await test.reopen({ now: inAnHour });
  await store.remove(first);
  await assertHolds(await store.get(third), someBytes(500, 3));
});
