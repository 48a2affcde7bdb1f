import assert from "node:assert/strict";
import { storeEvents } from "../../lib/events/webhooks_table.ts";
import type { RecipientId } from "../../lib/ids.ts";
import { openDatabase } from "../../lib/postgres/database.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

async function rest(room: DeliveryRoom, isPaused: boolean): Promise<void> {
  await room.owner.run(`update esp_providers set paused_at = ${isPaused ? "now()" : "null"}`);
}

Deno.test("deliver() lets mail of a paused provider wait, without a call or an attempt, until it is resumed", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  await rest(room, true);
  const id = await room.submit();
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  const [state] = await room.recipientsOf(id);
  assert.deepEqual([state?.status, state?.attempts, state?.code], ["pending", 0, "paused"]);
  assert.deepEqual([sink.mails.length, (await room.logsOf(id)).length], [0, 0]);
  await rest(room, false);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.deepEqual([await room.statusOf(id), sink.mails.length], ["delivered", 1]);
});

Deno.test("deliver() lets mail wait as long as the first of its providers rests, not the last", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const [open, resting] = [await room.relay(sink.port), await room.relay(sink.port)];
  await room.rule([open, resting]);
  await room.owner.query("update esp_providers set paused_at = now() where id = $1", [resting]);
  await using crew = room.crew();
  const fault = { blame: "provider", code: "timeout", detail: "No answer" } as const;
  const report = { recipients: new Map([[1 as RecipientId, { kind: "retry", fault } as const]]) };
  const subject = { id: open, group: room.account.group, name: "one" };
  for (let time = 0; time < 5; time++) await crew.health.note(subject, report);
  const id = await room.submit();
  await room.deliver(id, crew);
  const [state] = await room.recipientsOf(id);
  assert.equal(state?.code, "breaker_open");
  assert.ok(Number(state?.wait) < 40, `half a minute and a fifth: ${state?.wait}`);
  assert.equal(sink.mails.length, 0);
});

Deno.test("deliver() does not send again what the service has reported meanwhile", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at }) => at === "RCPT" ? { reply: "451 4.0.0 not now" } : undefined,
  });
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit();
  await room.deliver(id, crew);
  assert.equal((await room.recipientsOf(id))[0]?.status, "pending");
  const role = "smtp_proxy_login";
  await using login = openDatabase({ url: room.databaseOf.urlFor(role), role });
  const [log] = await room.logsOf(id);
  const event = {
    kind: "delivered",
    externalId: "e1",
    occurredAt: new Date(),
    recipient: "one@example.net",
    messageId: id,
    callId: String(log?.["id"]),
    data: {},
  } as const;
  assert.equal(await storeEvents(login.system, provider, [event, event]), 1);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual((await room.recipientsOf(id)).map(({ status }) => status), ["delivered"]);
  assert.equal((await room.logsOf(id)).length, 1);
});
