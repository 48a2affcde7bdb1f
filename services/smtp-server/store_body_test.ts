import assert from "node:assert/strict";
import { type GroupId, type MessageId, newId, type UserId } from "../../lib/ids.ts";
import type { StorageRef, Submission } from "../../lib/messages/message.ts";
import { Refusal } from "../../lib/refusal.ts";
import { memoryBody } from "../../lib/store/memory_body.ts";
import { refuseWhenFull, storeBody } from "./store_body.ts";

const inlineLimit = 100;

/** A store of which only `put` is asked. */
function storeThat(put: () => Promise<StorageRef>) {
  const unused = () => Promise.reject(new Error("Nobody asks this"));
  async function* list() {}
  return { put, get: unused, remove: unused, list, [Symbol.asyncDispose]: unused };
}

function submissionOf(size: number): Submission {
  return {
    id: newId<MessageId>(),
    group: newId<GroupId>(),
    user: newId<UserId>(),
    mailFrom: "a@example.com",
    recipients: [{ address: "b@example.net" }],
    body: memoryBody(new Uint8Array(size)),
    contentHash: new Uint8Array(32),
    headers: {},
    client: { address: "192.0.2.1", helo: "client" },
    eightBit: false,
    smtpUtf8: false,
    correlationId: "test",
  };
}

function storing(put: () => Promise<StorageRef>) {
  return storeBody({ store: storeThat(put), putTimeoutMs: 20, inlineLimit });
}

Deno.test("storeBody() answers where the store put the body", async () => {
  const stored = await storing(() => Promise.resolve("local:a#1+2"))(submissionOf(10));
  assert.deepEqual(stored, { storageRef: "local:a#1+2" });
});

Deno.test("storeBody() gives a small body to the row when the store fails or does not answer in time", async () => {
  for (const put of [() => Promise.reject(new Error("Gone")), () => new Promise<never>(() => {})]) {
    const { storageRef, inlineBody } = await storing(put)(submissionOf(inlineLimit));
    assert.deepEqual([storageRef, inlineBody?.length], ["inline", inlineLimit]);
  }
});

Deno.test("storeBody() refuses a body that is too large for the row while the store is down", async () => {
  const accepting = storing(() => Promise.reject(new Error("Gone")));
  await assert.rejects(accepting(submissionOf(inlineLimit + 1)), {
    name: "Refusal",
    code: "body_store_down",
  });
});

Deno.test("storeBody() gives a small body to the row when too many wait for the store", async () => {
  const accepting = storing(() => Promise.reject(new Refusal("body_memory_full", "Too many wait")));
  assert.equal((await accepting(submissionOf(inlineLimit))).storageRef, "inline");
  await assert.rejects(accepting(submissionOf(inlineLimit + 1)), { code: "body_memory_full" });
});

Deno.test("storeBody() never puts into the database what a full disk refuses", async () => {
  const accepting = storing(() => Promise.reject(new Refusal("body_store_full", "Full")));
  await assert.rejects(accepting(submissionOf(1)), { name: "Refusal", code: "body_store_full" });
});

Deno.test("refuseWhenFull() refuses for want of room, and not because the store cannot be asked", async () => {
  const full = { checkRoom: () => Promise.reject(new Refusal("body_store_full", "Full")) };
  await assert.rejects(refuseWhenFull(full), { name: "Refusal", code: "body_store_full" });
  await refuseWhenFull({ checkRoom: () => Promise.reject(new Error("Gone")) });
  await refuseWhenFull({ checkRoom: () => Promise.resolve() });
});
