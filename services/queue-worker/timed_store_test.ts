import assert from "node:assert/strict";
import type { Body } from "../../lib/store/body.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { TimedStore } from "./timed_store.ts";

/** A store whose reads end when the test says so. */
function heldStore() {
  const reads: PromiseWithResolvers<Body | undefined>[] = [];
  return {
    reads,
    get: () => {
      const read = Promise.withResolvers<Body | undefined>();
      reads.push(read);
      return read.promise;
    },
  };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

Deno.test("TimedStore answers what its store answers, failures included", async () => {
  const held = heldStore();
  const store = new TimedStore(held, 60_000, 1);
  const gone = store.get("local:x");
  held.reads[0]?.resolve(undefined);
  assert.equal(await gone, undefined);
  const failed = store.get("local:x");
  held.reads[1]?.reject(new Error("AccessDenied"));
  await assert.rejects(failed, /AccessDenied/);
});

Deno.test("TimedStore asks a store that hangs for nothing more until a read has ended", async () => {
  const held = heldStore();
  const store = new TimedStore(held, 1, 2);
  for (let read = 0; read < 4; read++) await assert.rejects(store.get("local:x"), { name: "Late" });
  assert.equal(held.reads.length, 2);
  held.reads[0]?.reject(new Error("EIO"));
  await turn();
  await assert.rejects(store.get("local:x"), { name: "Late" });
  assert.equal(held.reads.length, 3);
  for (const read of held.reads) read.resolve(undefined);
});

Deno.test("TimedStore gives back a body that came too late", async () => {
  const held = heldStore();
  const store = new TimedStore(held, 1);
  await assert.rejects(store.get("local:x"), { name: "Late" });
  let disposed = 0;
  held.reads[0]?.resolve(
    { [Symbol.asyncDispose]: () => Promise.resolve(void disposed++) } as unknown as Body,
  );
  await turn();
  assert.equal(disposed, 1);
});

Deno.test("TimedStore's bodies that were there before others hung are read on", async () => {
  const held = heldStore();
  const store = new TimedStore(held, 1, 1);
  const got = store.get("local:x");
  held.reads[0]?.resolve(memoryBody(new TextEncoder().encode("some bytes")));
  const body = await got;
  await assert.rejects(store.get("local:x"), { name: "Late" });
  await assert.rejects(store.get("local:x"), { message: "1 reads hang" });
  assert.equal((await body?.bytes())?.length, 10);
  held.reads[1]?.resolve(undefined);
});

Deno.test("TimedStore does not end its process when what came too late cannot be given back", async () => {
  const held = heldStore();
  const store = new TimedStore(held, 1);
  await assert.rejects(store.get("local:x"), { name: "Late" });
  let unhandled = 0;
  const count = (event: PromiseRejectionEvent) => (event.preventDefault(), unhandled++);
  addEventListener("unhandledrejection", count);
  held.reads[0]?.resolve(
    { [Symbol.asyncDispose]: () => Promise.reject(new Error("EIO")) } as unknown as Body,
  );
  await turn();
  removeEventListener("unhandledrejection", count);
  assert.equal(unhandled, 0);
});

Deno.test("TimedStore's bodies do not wait for a stream that cannot be cancelled", async () => {
  const hanging = Promise.withResolvers<void>();
  const stream = new ReadableStream({ cancel: () => hanging.promise });
  const body = { size: 5, stream: () => stream } as unknown as Body;
  const timed = await new TimedStore({ get: () => Promise.resolve(body) }, 1).get("local:x");
  await assert.rejects(timed?.stream().cancel() ?? Promise.resolve(), { name: "Late" });
  hanging.resolve();
});

Deno.test("TimedStore asks one kind of store although another hangs", async () => {
  const held = heldStore();
  const store = new TimedStore(held, 1, 1);
  await assert.rejects(store.get("local:x"), { name: "Late" });
  await assert.rejects(store.get("s3:x"), { name: "Late" });
  assert.equal(held.reads.length, 2);
  for (const read of held.reads) read.resolve(undefined);
});

Deno.test("TimedStore's bodies are what they were", async () => {
  const body = memoryBody(new TextEncoder().encode("some bytes"));
  const timed = await new TimedStore({ get: () => Promise.resolve(body) }).get("local:x");
  assert.ok(timed);
  assert.deepEqual([timed.size, timed.sha256], [body.size, body.sha256]);
  assert.deepEqual(await timed.bytes(), await body.bytes());
  for (let time = 0; time < 2; time++) {
    assert.equal(await new Response(timed.stream()).text(), "some bytes");
  }
});

Deno.test("TimedStore's bodies tell a chunk that does not come, and what fails in their own words", async () => {
  let isCancelled = false;
  const hanging = Promise.withResolvers<void>();
  const streams = [
    new ReadableStream({ pull: () => hanging.promise, cancel: () => void (isCancelled = true) }),
    new ReadableStream({ pull: (controller) => controller.error(new Error("EIO")) }),
  ];
  const body = { size: 5, stream: () => streams.shift() } as unknown as Body;
  const timed = await new TimedStore({ get: () => Promise.resolve(body) }, 1).get("local:x");
  assert.ok(timed);
  await assert.rejects(new Response(timed.stream()).text(), { name: "Late" });
  await assert.rejects(new Response(timed.stream()).text(), /EIO/);
  assert.equal(isCancelled, false, "a read that hangs cannot be waited for");
  hanging.resolve();
});
