import assert from "node:assert/strict";
import type { MessageId, ProviderId } from "../../lib/ids.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

/** Leaves a message as a worker leaves it that dies in its call for the first recipient, after so many claims. */
async function dieInCall(
  room: DeliveryRoom,
  id: MessageId,
  provider: ProviderId,
  claims: number,
): Promise<void> {
  await room.owner.run(`begin;
    update messages set status = 'processing', claim = 0, claimed_by = 'gone/1', claims = ${claims},
      claimed_until = now() - interval '1 s' where id = '${id}';
    insert into delivery_logs (id, message_id, group_id, user_id, claim, provider_id, provider, recipients, status)
      select uuidv7(), id, group_id, user_id, 0, '${provider}', 'smtp', '{1}', 'started' from messages
      where id = '${id}';
    commit`);
}

Deno.test("deliver() settles the call of a worker that died by the provider's policy before it calls again", async () => {
  for (const unknown of ["retry", "hold"]) {
    await using sink = await SmtpSink.open();
    await using room = await DeliveryRoom.open();
    const provider = await room.relay(sink.port, { unknown });
    const id = await room.submit(["one@example.net", "two@example.net"]);
    await dieInCall(room, id, provider, 1);
    await using crew = room.crew();
    await room.deliver(id, crew);
    const states = (await room.recipientsOf(id)).map(({ status, attempts }) => [status, attempts]);
    if (unknown === "hold") {
      assert.deepEqual(states, [["unknown", 1], ["accepted", 1]]);
      assert.equal(await room.statusOf(id), "failed/unknown");
      assert.deepEqual(sink.mails[0]?.to, ["<two@example.net>"]);
    } else {
      assert.deepEqual(states, [["accepted", 1], ["accepted", 1]], "the call of a crash spends no attempt");
      assert.match(await room.metrics.text(), /delivery_resent_total\{reason="crash".*\} 1/);
    }
    assert.deepEqual((await room.logsOf(id)).map((log) => log["status"]), ["unknown", "delivered"]);
  }
});

Deno.test("deliver() counts claims whose calls ended their worker, and gives the message up after eight", async () => {
  await using sink = await SmtpSink.open({ script: ({ at }) => at === "dot" ? { hang: true } : undefined });
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(sink.port);
  const id = await room.submit();
  await dieInCall(room, id, provider, 7);
  const crew = room.crew();
  const delivering = room.deliver(id, crew);
  while (!sink.steps.some(({ at }) => at === "dot")) await new Promise((resolve) => setTimeout(resolve, 5));
  const [row] = await room.owner.query("select claims from messages where id = $1", [id]);
  assert.equal(row?.["claims"], 8);
  crew.drain();
  crew.stop();
  await delivering;
  await crew[Symbol.asyncDispose]();
  await room.makeDue(id);
  const [before] = await room.recipientsOf(id);
  await dieInCall(room, id, provider, 8);
  await using next = room.crew();
  await room.deliver(id, next);
  assert.equal(await room.statusOf(id), "failed/crashed");
  assert.equal((await room.recipientsOf(id))[0]?.attempts, before?.attempts);
});

Deno.test("deliver() gives a message up after eight claims that ended without a call", async () => {
  await using room = await DeliveryRoom.open();
  await using crew = room.crew();
  const id = await room.submit();
  await room.owner.query("update messages set claims = 8 where id = $1", [id]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/crashed");
  assert.deepEqual(await room.logsOf(id), []);
});
