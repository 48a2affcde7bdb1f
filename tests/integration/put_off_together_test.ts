import assert from "node:assert/strict";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

Deno.test("recipients that are put off together are due together, and go in one transaction", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at }) => at === "MAIL" ? { reply: "451 4.3.2 busy, come again" } : undefined,
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit(Array.from({ length: 500 }, (_, n) => `r${n}@example.net`));
  await room.deliver(id, crew);
  const due = await room.owner.query(
    `select count(*)::integer as pending, count(distinct r.next_attempt_at)::integer as moments,
       bool_and(r.next_attempt_at = m.next_attempt_at) as with_message
     from recipients r join messages m on m.id = r.message_id where m.id = $1 and r.status = 'pending'`,
    [id],
  );
  assert.deepEqual(due, [{ pending: 500, moments: 1, with_message: true }]);
});
