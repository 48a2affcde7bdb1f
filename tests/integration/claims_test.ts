import assert from "node:assert/strict";
import type { Body } from "../../lib/store/body.ts";
import type { StorageRef } from "../../lib/messages/message.ts";
import { reportLimitMs } from "../../services/queue-worker/call_provider.ts";
import { answerTimeoutMs } from "../../lib/providers/esp_io.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { until } from "../support/until.ts";

/** Renewed each three seconds; a call may still begin four seconds late, and then has five to hand its message over. */
const shortLease = { leaseMs: 9000, terms: { callTimeoutMs: 5000 } };

/** A store whose reads wait until they are let go. */
function gatedStore(store: { get(ref: StorageRef): Promise<Body | undefined> }) {
  const reached = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    letGo: go.resolve,
    async get(ref: StorageRef) {
      reached.resolve();
      await go.promise;
      return await store.get(ref);
    },
  };
}

Deno.test("deliver() changes nothing once another worker has taken the message over", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  const gate = gatedStore(room.store);
  await using slow = room.crew({ store: gate, name: "slow" });
  await using quick = room.crew({ name: "quick" });
  const id = await room.submit();
  const first = room.deliver(id, slow);
  await gate.reached;
  await room.owner.query("update messages set claimed_until = now() - interval '1 s' where id = $1", [id]);
  await room.deliver(id, quick);
  assert.equal(await room.statusOf(id), "delivered");
  gate.letGo();
  await first;
  assert.equal(await room.statusOf(id), "delivered");
  assert.equal(sink.mails.length, 1);
  assert.equal((await room.logsOf(id)).length, 1);
});

Deno.test("deliver() cannot conclude over the result of the worker that took the message over", async () => {
  const reached = Promise.withResolvers<void>();
  const takenOver = Promise.withResolvers<void>();
  await using sink = await SmtpSink.open({
    script: ({ at, connection }) => {
      if (at !== "dot" || connection !== 1) return undefined;
      reached.resolve();
      return { after: takenOver.promise, reply: "550 5.7.1 Refused late" };
    },
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using slow = room.crew({ name: "slow" });
  await using quick = room.crew({ name: "quick" });
  const id = await room.submit();
  const first = room.deliver(id, slow);
  await reached.promise;
  await room.owner.query("update messages set claimed_until = now() - interval '1 s' where id = $1", [id]);
  await room.deliver(id, quick);
  takenOver.resolve();
  await first;
  const [recipient] = await room.recipientsOf(id);
  assert.equal(recipient?.status, "accepted");
  assert.equal(await room.statusOf(id), "delivered");
  assert.match(await room.metrics.text(), /delivery_claims_lost_total\{[^}]*\} 1/);
});

Deno.test("KeptClaims renews what is in hand and stops the work whose claim was taken over", async () => {
  await using sink = await SmtpSink.open({ script: ({ at }) => at === "dot" ? { hang: true } : undefined });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew(shortLease);
  const id = await room.submit();
  const [before] = await leaseOf(room, id);
  assert.equal(before, undefined);
  const delivering = room.deliver(id, crew);
  await until("the relay has the message", () => sink.steps.some(({ at }) => at === "dot"));
  const [, lease] = await leaseOf(room, id);
  await until("the claim is renewed", async () => (await leaseOf(room, id))[1] !== lease);
  await room.owner.query("update messages set claim = nextval('message_claims') where id = $1", [id]);
  await delivering;
  assert.equal(await room.statusOf(id), "processing");
  assert.match(await room.metrics.text(), /delivery_claims_lost_total\{[^}]*\} 1/);
});

Deno.test("deliver() keeps the claim while a relay answers late, until the process stops", async () => {
  await using sink = await SmtpSink.open({ script: ({ at }) => at === "dot" ? { hang: true } : undefined });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew(shortLease);
  const id = await room.submit();
  const delivering = room.deliver(id, crew);
  await until("the relay has the message", () => sink.steps.some(({ at }) => at === "dot"));
  // Four thirds of the lease, and longer than the call may take before its message is sent.
  for (let renewals = 0; renewals < 4; renewals++) {
    const [, before] = await leaseOf(room, id);
    await until("the claim is renewed", async () => (await leaseOf(room, id))[1] !== before);
    assert.equal(await room.statusOf(id), "processing");
  }
  crew.drain();
  crew.stop();
  await delivering;
  assert.equal(sink.mails.length, 0);
});

Deno.test("reportLimitMs() outlasts a call and ten minutes for the answer to its message", () => {
  assert.equal(answerTimeoutMs, 10 * 60_000);
  assert.ok(reportLimitMs({ callTimeoutMs: 30_000, answerTimeoutMs }) > 30_000 + answerTimeoutMs);
});

Deno.test("Records.claim() claims again at once what this process does not know it holds", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit();
  const lost = await crew.records.claim(id, crew.stopped);
  assert.ok(lost.kind === "claimed");
  const busy = await crew.records.claim(id, crew.stopped);
  assert.equal(busy.kind, "busy");
  crew.claims.drop(lost.claim.number);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
});

async function leaseOf(room: DeliveryRoom, id: string): Promise<readonly (string | undefined)[]> {
  const [row] = await room.owner.query("select claim, claimed_until::text from messages where id = $1", [id]);
  return row?.["claim"] === null ? [] : [String(row?.["claim"]), String(row?.["claimed_until"])];
}
