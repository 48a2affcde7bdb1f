import assert from "node:assert/strict";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { type SinkStep, SmtpSink } from "../support/smtp_sink.ts";

/** A relay that takes everybody but one recipient, with a reply that is cut within a character. */
function fullWith(text: string) {
  return ({ at, argument }: SinkStep) =>
    at === "RCPT" && argument.includes("<full") ? { reply: `451 4.2.2 ${text}` } : undefined;
}

Deno.test("deliver() sends once to whom a relay took, however the reply about another would be cut", async () => {
  // The sink writes each code unit as a byte: these four are the UTF-8 of one character beyond the first plane.
  const emoji = "\u00f0\u009f\u0098\u0080";
  await using sink = await SmtpSink.open({ script: fullWith(`${"y".repeat(489)}${emoji} mailbox full`) });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit(["ok@example.net", "full@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  const states = (await room.recipientsOf(id)).map(({ status, attempts, code }) => [status, attempts, code]);
  assert.deepEqual(states, [["accepted", 1, null], ["pending", 1, "smtp_451"]]);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.deepEqual(sink.mails.map(({ to }) => to), [["<ok@example.net>"]]);
  assert.deepEqual((await room.logsOf(id)).map((log) => log["status"]), ["partial", "failed"]);
});
