import assert from "node:assert/strict";
import type { StorageRef } from "../../lib/messages/message.ts";
import { FileBody } from "../../lib/store/file_body.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

const text = `Subject: large\r\n\r\n${`${"y".repeat(70)}\r\n`.repeat(10_000)}`;

/** The room's store, whose bodies are not what they were while it is damaged. */
function damagingStore(room: DeliveryRoom) {
  const store = {
    isDamaged: true,
    onRead: () => {},
    async get(ref: StorageRef) {
      store.onRead();
      const body = await room.store.get(ref);
      assert.ok(body instanceof FileBody, "a large body is read from its file");
      return store.isDamaged ? new FileBody(body.path, body.offset, body.size, new Uint8Array(32)) : body;
    },
  };
  return store;
}

Deno.test("deliver() breaks off sending a large body that is damaged, and does not send it again and again", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew({ store: damagingStore(room) });
  const id = await room.submit(["one@example.net"], text);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "storage_error");
  assert.equal(sink.mails.length, 0);
  const [broken, gone] = await room.logsOf(id);
  assert.match(String(broken?.["last_error"]), /^body_unreadable/);
  assert.match(String(gone?.["last_error"]), /body is gone/);
  assert.equal(sink.steps.filter(({ at }) => at === "MAIL").length, 1);
});

/** A message that was broken off once, is due again, and whose body is sound by now. */
async function openMended() {
  await using stack = new AsyncDisposableStack();
  const sink = stack.use(await SmtpSink.open());
  const room = stack.use(await DeliveryRoom.open());
  await room.relay(sink.port);
  const store = damagingStore(room);
  const crew = stack.use(room.crew({ store }));
  const id = await room.submit(["one@example.net"], text);
  await room.deliver(id, crew);
  store.isDamaged = false;
  await room.makeDue(id);
  const held = stack.move();
  return { sink, room, store, crew, id, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

Deno.test("deliver() sends a large body that could be read only at the second try", async () => {
  await using mended = await openMended();
  const { sink, room, crew, id } = mended;
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.equal(new TextDecoder().decode(sink.mails[0]?.bytes), text);
});

Deno.test("deliver() sends no damaged body again and again where a rule looks into it", async () => {
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(2525);
  await room.rule([provider], { attachment: true });
  await using crew = room.crew({ store: damagingStore(room) });
  const head = 'Subject: large\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\n';
  const id = await room.submit(["one@example.net"], `${head}${text}\r\n--b--\r\n`);
  await room.deliver(id, crew);
  assert.equal((await room.recipientsOf(id))[0]?.code, "store_down");
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "storage_error");
});

Deno.test("deliver() hands back what it looks at for damage when the worker is told to stop", async () => {
  await using mended = await openMended();
  const { sink, room, store, crew, id } = mended;
  store.onRead = () => crew.drain();
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  assert.equal(sink.steps.filter(({ at }) => at === "MAIL").length, 1);
});
