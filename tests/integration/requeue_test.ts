import assert from "node:assert/strict";
import type { MessageId } from "../../lib/ids.ts";
import { cancelMessage, requeueMessages } from "../../lib/messages/requeue_table.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import type { GroupSql } from "../../lib/postgres/sql.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { type SinkStep, SmtpSink } from "../support/smtp_sink.ts";

/** A room, a relay that answers RCPT by what the address begins with while it is bad, and the group's own hands. */
async function openScene() {
  await using stack = new AsyncDisposableStack();
  const relay = { isBad: true };
  const script = ({ at, argument }: SinkStep) => {
    const code = at === "RCPT" ? /<(\d{3})/.exec(argument)?.[1] : undefined;
    return code === undefined || !relay.isBad
      ? undefined
      : { reply: `${code} ${code[0]}.0.0 as the address says` };
  };
  const sink = stack.use(await SmtpSink.open({ script }));
  const room = stack.use(await DeliveryRoom.open());
  await room.relay(sink.port);
  const crew = stack.use(room.crew());
  const role = "smtp_proxy_group";
  const group = stack.use(openDatabase({ url: room.databaseOf.urlFor(role), role }));
  const opened = stack.move();
  return {
    relay,
    sink,
    room,
    crew,
    asGroup: <T>(work: (sql: GroupSql) => Promise<T>) => group.forGroup(room.account.group, work),
    statusesOf: async (id: MessageId) => (await room.recipientsOf(id)).map(({ status }) => status),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

Deno.test("requeueMessages() has a dead letter sent to those alone whom nobody accepted", async () => {
  await using scene = await openScene();
  const { room, crew, relay, sink } = scene;
  const id = await room.submit(["ok@example.net", "550@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/refused");
  relay.isBad = false;
  const { group } = room.account;
  assert.deepEqual(await scene.asGroup((sql) => requeueMessages(sql, group, [id])), [id]);
  await Promise.all([room.deliver(id, crew), room.deliver(id, crew)]);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(await scene.statusesOf(id), ["accepted", "accepted"]);
  assert.deepEqual(sink.mails.map(({ to }) => to), [["<ok@example.net>"], ["<550@example.net>"]]);
  assert.deepEqual(await scene.asGroup((sql) => requeueMessages(sql, group, [id])), []);
});

Deno.test("requeueMessages() gives an old dead letter all attempts and a new time to live", async () => {
  await using scene = await openScene();
  const { room, crew } = scene;
  const id = await room.submit(["450@example.net"]);
  await room.owner.run(`begin;
    update messages set status = 'failed', failure_code = 'expired', enqueued_at = now() - interval '9 days',
      claims = 8 where id = '${id}';
    update recipients set status = 'failed', failure_code = 'expired', attempts = 6 where message_id = '${id}';
    update esp_providers set enabled = false; commit`);
  const { group } = room.account;
  assert.deepEqual(await scene.asGroup((sql) => requeueMessages(sql, group, [id])), [id]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued", "what has to wait expires no sooner than a new message");
  await room.owner.run("update esp_providers set enabled = true");
  await room.makeDue(id);
  await room.deliver(id, crew);
  const [recipient] = await room.recipientsOf(id);
  assert.deepEqual([recipient?.status, recipient?.attempts], ["pending", 1]);
});

Deno.test("cancelMessage() keeps the doorbell that rings later from doing anything", async () => {
  await using scene = await openScene();
  const { room, crew, sink } = scene;
  const id = await room.submit();
  const { group } = room.account;
  assert.equal(await scene.asGroup((sql) => cancelMessage(sql, group, id)), true);
  assert.equal(await scene.asGroup((sql) => cancelMessage(sql, group, id)), false);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "cancelled/cancelled");
  assert.deepEqual(await scene.statusesOf(id), ["cancelled"]);
  assert.equal(sink.mails.length, 0);
});
