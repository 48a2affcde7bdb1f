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

/** Has the database refuse what a column of recipients is to become, as it would a text it cannot hold. */
async function refuse(room: DeliveryRoom, condition: string, errorCode: string): Promise<void> {
  await room.owner.run(`
    create sequence refusals;
    create function refuse() returns trigger language plpgsql security definer as $$
    begin
      if ${condition} then raise exception 'refused' using errcode = '${errorCode}'; end if;
      return new;
    end $$;
    create trigger refuse before update on recipients for each row execute function refuse()`);
}

Deno.test("deliver() writes a call's end without its texts when they cannot be stored, and sends nothing again", async () => {
  await using sink = await SmtpSink.open({ script: fullWith("poison") });
  await using room = await DeliveryRoom.open();
  await refuse(room, "new.fault_detail like '%poison%'", "22P05");
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit(["ok@example.net", "full@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  const states = (await room.recipientsOf(id)).map(({ status, attempts, code }) => [status, attempts, code]);
  assert.deepEqual(states, [["accepted", 1, null], ["pending", 1, "smtp_451"]]);
  const errors = room.log.lines.filter(({ level }) => level === "error");
  assert.deepEqual(errors.map(({ fields }) => fields["messageId"]), [id]);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(sink.mails.length, 1);
});
