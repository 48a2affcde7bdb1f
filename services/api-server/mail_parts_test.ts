import assert from "node:assert/strict";
import type { GroupId, MessageId } from "../../lib/ids.ts";
import type { Doorbell, PushResult, Queue } from "../../lib/queue/queue.ts";
import { Refusal } from "../../lib/refusal.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { mailPartsOf } from "./mail_parts.ts";

const bell: Doorbell = { group: "g" as GroupId, message: "m" as MessageId };

/** A queue that can be pushed to and closed, and nothing else. */
function queueOf(push: (bells: readonly Doorbell[]) => Promise<readonly PushResult[]>): Queue {
  return { push, [Symbol.asyncDispose]: () => Promise.resolve() } as unknown as Queue;
}

function noStore(): Promise<never> {
  return Promise.reject(new Error("no store"));
}

Deno.test("ring() opens the queue anew after it could not be opened, and tells each failure without throwing", async () => {
  const faults: unknown[] = [];
  const pushed: Doorbell[] = [];
  let openings = 0;
  const mail = mailPartsOf({
    store: noStore,
    queue: () => {
      openings++;
      if (openings === 1) return Promise.reject(new Error("down"));
      return Promise.resolve(queueOf((bells) => {
        pushed.push(...bells);
        const result: PushResult = pushed.length === 1
          ? { ok: false, doubtful: false, error: new Error("full") }
          : { ok: true };
        return Promise.resolve(bells.map(() => result));
      }));
    },
    onFault: (error) => faults.push(error),
  });
  await mail.ring([]);
  assert.equal(openings, 0);
  for (let times = 0; times < 3; times++) await mail.ring([bell]);
  assert.equal(openings, 2);
  assert.deepEqual(pushed, [bell, bell]);
  assert.deepEqual(faults.map((error) => (error as Error).message), ["down", "full"]);
  await mail[Symbol.asyncDispose]();
});

Deno.test("ring() does not wait for ever for a queue that does not answer", async () => {
  const answer = Promise.withResolvers<readonly PushResult[]>();
  const mail = mailPartsOf({
    store: noStore,
    queue: () => Promise.resolve(queueOf(() => answer.promise)),
    onFault: () => {},
    waitMs: 1,
  });
  await mail.ring([bell]);
  answer.resolve([{ ok: true }]);
  await mail[Symbol.asyncDispose]();
});

Deno.test("readBody() refuses while the store is down, and answers when it is back", async () => {
  let isDown = true;
  const mail = mailPartsOf({
    store: () =>
      isDown ? noStore() : Promise.resolve({
        checkThere: () => Promise.resolve(),
        get: (ref) => Promise.resolve(ref === "local:a" ? memoryBody(new Uint8Array(3)) : undefined),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    queue: () => Promise.reject(new Error("no queue")),
    onFault: () => {},
  });
  await assert.rejects(
    mail.readBody("local:a"),
    (error) => error instanceof Refusal && error.code === "body_store_down",
  );
  isDown = false;
  assert.equal((await mail.readBody("local:a"))?.size, 3);
  assert.equal(await mail.readBody("local:b"), undefined);
  await mail[Symbol.asyncDispose]();
});

Deno.test("whatIsDown() names what fails or does not answer, and no folder that was never there", async () => {
  let store = () => Promise.reject<void>(Object.assign(new Error("none"), { code: "ENOENT" }));
  let queue = () => Promise.resolve();
  const mail = mailPartsOf({
    store: () =>
      Promise.resolve({
        get: () => Promise.resolve(undefined),
        checkThere: () => store(),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
    queue: () => Promise.resolve({ ...queueOf(() => Promise.resolve([])), ping: () => queue() }),
    onFault: () => {},
    waitMs: 1,
  });
  assert.deepEqual(await mail.whatIsDown(), [], "nobody has stored anything yet");
  const absent = store;
  store = () => Promise.resolve();
  assert.deepEqual(await mail.whatIsDown(), []);
  store = absent;
  assert.deepEqual(await mail.whatIsDown(), ["storage"], "it is away");
  const answer = Promise.withResolvers<void>();
  queue = () => answer.promise;
  assert.deepEqual(await mail.whatIsDown(), ["queue", "storage"]);
  answer.resolve();
  await mail[Symbol.asyncDispose]();
});
