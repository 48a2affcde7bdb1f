import assert from "node:assert/strict";
import { type CallId, newId } from "../../lib/ids.ts";
import type { EspEvent } from "../../lib/esp/event.ts";
import { storeEvents } from "../../lib/events/webhooks_table.ts";
import type { Settlement } from "../../lib/messages/outcomes_table.ts";
import { openDatabase, openSession, type Session } from "../../lib/postgres/database.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import type { OpenedCrew } from "../../services/queue-worker/open_crew.ts";
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

/** The settlement of a message that a crew has claimed and called somebody for, all of whose recipients were taken. */
async function takenOf(room: DeliveryRoom, crew: OpenedCrew, recipients?: readonly string[]) {
  const answer = await crew.records.claim(await room.submit(recipients), crew.stopped);
  assert.ok(answer.kind === "claimed");
  const { message, number: claim } = answer.claim;
  const call = newId<CallId>();
  const positions = message.recipients.map(({ id }) => id);
  const { group, user } = message;
  const of = { call, message: message.id, group, user, claim, recipients: positions };
  assert.ok(
    await crew.records.startCall({ ...of, providerType: "x", attempt: 1, limitMs: 1000 }, crew.stopped),
  );
  return {
    message: message.id,
    claim,
    calls: [{ call, status: "delivered" }],
    changes: positions.map((recipient) => ({ recipient, status: "accepted", attemptSpent: true })),
    then: "conclude",
  } satisfies Settlement;
}

Deno.test("Records.settle() answers for what was delivered though others settled with it fail", async () => {
  await using room = await DeliveryRoom.open();
  await refuse(room, "new.status = 'pending' and nextval('refusals') < 3", "40P01");
  await using crew = room.crew();
  const [taken, other] = [await takenOf(room, crew), await takenOf(room, crew)];
  const putOff: Settlement = {
    ...other,
    calls: other.calls.map(({ call }) => ({ call, status: "failed" })),
    changes: other.changes.map(({ recipient }) => (
      { recipient, status: "pending", delayMs: 30_000, attemptSpent: true, kind: "retry" }
    )),
  };
  const settled = await Promise.all([taken, putOff].map((one) => crew.records.settle(one, crew.stopped)));
  assert.deepEqual(settled.map((one) => one?.status), ["delivered", "queued"]);
  const [refusals] = await room.owner.run("select last_value::int as made from refusals");
  assert.equal(refusals?.["made"], 3, "two failures and one success");
});

Deno.test("Records.settle() lets what a service reported meanwhile of a recipient decide along", async () => {
  await using room = await DeliveryRoom.open();
  await using crew = room.crew();
  const taken = await takenOf(room, crew, ["one@example.net", "two@example.net"]);
  await room.owner.query(
    "update recipients set status = 'bounced', failure_code = 'refused' where message_id = $1 and position = 2",
    [taken.message],
  );
  assert.equal((await crew.records.settle(taken, crew.stopped))?.status, "failed");
  assert.equal(await room.statusOf(taken.message), "failed/refused");
  assert.deepEqual((await room.recipientsOf(taken.message)).map(({ status }) => status), [
    "accepted",
    "bounced",
  ]);
});

Deno.test("Records.settle() believes no plain success of a call that did not end as one", async () => {
  await using room = await DeliveryRoom.open();
  await using crew = room.crew();
  const taken = await takenOf(room, crew);
  const calls = taken.calls.map(({ call }) => ({ call, status: "partial" as const }));
  assert.equal((await crew.records.settle({ ...taken, calls }, crew.stopped))?.status, "delivered");
  assert.deepEqual((await room.logsOf(taken.message)).map((log) => log["status"]), ["partial"]);
});

Deno.test("Records.settle() does not keep others waiting for a message that somebody else has locked", async () => {
  await using room = await DeliveryRoom.open();
  await using database = openDatabase({
    url: room.databaseOf.urlFor("smtp_proxy_worker"),
    role: "smtp_proxy_worker",
    statementTimeoutMs: 2000,
  });
  await using crew = room.crew({ database });
  const takens = [await takenOf(room, crew), await takenOf(room, crew), await takenOf(room, crew)];
  const putOff = takens.map((taken): Settlement => ({
    ...taken,
    calls: taken.calls.map(({ call }) => ({ call, status: "failed" })),
    changes: taken.changes.map(({ recipient }) => (
      { recipient, status: "pending", delayMs: 30_000, attemptSpent: true, kind: "retry" }
    )),
  }));
  await using other = await openSession({ url: room.databaseOf.ownerUrl });
  await other.run("begin");
  await other.query("select from messages where id = $1 for update", [takens[0]?.message]);
  const [locked, ...free] = putOff.map((settlement) => crew.records.settle(settlement, crew.stopped));
  assert.deepEqual((await Promise.all(free)).map((one) => one?.status), ["queued", "queued"]);
  const putOffs = room.log.lines.filter(({ sentence }) => sentence === "database step put off");
  assert.equal(putOffs.length, 1, "the locked one's alone");
  await other.run("rollback");
  assert.equal((await locked)?.status, "queued");
});

/** What each recipient and the message have become of a call that nobody had an answer to, when a report came along. */
for (
  const [meanwhile, recipients, message] of [
    ["all were delivered", ["delivered", "delivered"], "delivered"],
    ["one was delivered", ["delivered", "unknown"], "failed/unknown"],
  ] as const
) {
  Deno.test(`Records.settle() knows what was reported while it was under way: ${meanwhile}`, async () => {
    await using room = await DeliveryRoom.open();
    await using crew = room.crew();
    const addresses = ["one@example.net", "two@example.net"];
    const taken = await takenOf(room, crew, addresses);
    const provider = await room.relay(9);
    const call = taken.calls[0]?.call;
    assert.ok(call);
    await room.owner.query("update delivery_logs set provider_id = $1 where id = $2", [provider, call]);
    const unknown: Settlement = {
      ...taken,
      calls: [{ call, status: "unknown" }],
      changes: taken.changes.map((change) => ({ ...change, status: "unknown", failure: "unknown" })),
    };
    await using reporter = await openSession({ url: room.databaseOf.ownerUrl });
    const events = addresses.slice(0, recipients.filter((status) => status === "delivered").length)
      .map((recipient): EspEvent => ({
        kind: "delivered",
        messageId: taken.message,
        callId: call,
        recipient,
        externalId: recipient,
        occurredAt: new Date(),
        data: {},
      }));
    await reporter.run("begin");
    assert.equal(await storeEvents(sqlOf(reporter), provider, events), events.length);
    const settled = crew.records.settle(unknown, crew.stopped);
    // The settlement has begun, so it cannot see what is committed from now on, and waits for a recipient.
    while (!await isSomebodyWaiting(room)) await new Promise((resolve) => setTimeout(resolve, 5));
    await reporter.run("commit");
    assert.equal((await settled)?.status, message.split("/")[0]);
    assert.equal(await room.statusOf(taken.message), message);
    assert.deepEqual((await room.recipientsOf(taken.message)).map(({ status }) => status), recipients);
  });
}

async function isSomebodyWaiting({ owner }: DeliveryRoom): Promise<boolean> {
  const [row] = await owner.query(
    "select exists (select from pg_locks l join pg_stat_activity a using (pid) where not l.granted and a.datname = current_database()) as is_waiting",
    [],
  );
  return row?.["is_waiting"] === true;
}

/** Statements of a session, for functions that are written as templates. */
function sqlOf(session: Session): SystemSql {
  const run = (text: TemplateStringsArray, ...values: readonly unknown[]) =>
    session.query(text.reduce((before, part, index) => `${before}$${index}${part}`), values);
  return run as unknown as SystemSql;
}
