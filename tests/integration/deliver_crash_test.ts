import assert from "node:assert/strict";
import type { EspKind } from "../../lib/esp/esp.ts";
import type { CallReport } from "../../lib/esp/outcome.ts";
import { simulator } from "../../lib/esp/simulator.ts";
import type { MessageId, ProviderId } from "../../lib/ids.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { until } from "../support/until.ts";

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

Deno.test("deliver() does not repeat a call by a provider that was deleted meanwhile", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(sink.port, { unknown: "retry" });
  const id = await room.submit(["one@example.net"]);
  await dieInCall(room, id, provider, 1);
  await room.owner.query("delete from esp_providers where id = $1", [provider]);
  await room.relay(sink.port, { unknown: "retry" });
  await using crew = room.crew();
  await room.deliver(id, crew);
  assert.equal(sink.mails.length, 0);
  assert.equal(await room.statusOf(id), "failed/unknown");
});

Deno.test("deliver() counts claims whose calls ended their worker, and gives the message up after eight", async () => {
  await using sink = await SmtpSink.open({ script: ({ at }) => at === "dot" ? { hang: true } : undefined });
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(sink.port);
  const id = await room.submit();
  await dieInCall(room, id, provider, 7);
  const crew = room.crew();
  const delivering = room.deliver(id, crew);
  await until("the relay has the message", () => sink.steps.some(({ at }) => at === "dot"));
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

/** A service that takes everything, and whose reports nobody understands. */
function misreporting(taken: string[]): EspKind<unknown> {
  const kind = simulator as EspKind<unknown>;
  return {
    ...kind,
    name: "misreporting",
    open: (settings, io) => {
      const esp = kind.open(settings, io);
      return Object.assign(Object.create(esp), {
        limits: esp.limits,
        deliver: ({ recipients }: Parameters<typeof esp.deliver>[0]): Promise<CallReport> => {
          taken.push(...recipients.map(({ address }) => address));
          const outcome = { kind: "misunderstood", fault: { blame: "provider", code: "odd", detail: "" } };
          return Promise.resolve({
            recipients: new Map(recipients.map(({ id }) => [id, outcome])),
          } as unknown as CallReport);
        },
      });
    },
  };
}

Deno.test("deliver() waits longer after each fault of its own once a request has left, and gives up after eight", async () => {
  await using room = await DeliveryRoom.open();
  await room.provider("misreporting", {});
  const taken: string[] = [];
  await using crew = room.crew({ kinds: [misreporting(taken)] });
  const id = await room.submit();
  const waits: number[] = [];
  for (let claim = 1; claim <= 8; claim++) {
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "queued");
    assert.equal(taken.length, claim);
    // However often it is rung for, it is not due.
    await room.deliver(id, crew);
    assert.equal(taken.length, claim);
    const [row] = await room.owner.query(
      "select extract(epoch from next_attempt_at - processed_at)::float8 as waits from messages where id = $1",
      [id],
    );
    waits.push(Math.round(Number(row?.["waits"])));
    const statuses = (await room.logsOf(id)).map(({ status }) => status);
    assert.deepEqual(statuses, [...Array.from({ length: claim - 1 }, () => "unknown"), "started"]);
    await room.makeDue(id);
  }
  assert.deepEqual(waits, [30, 60, 120, 300, 900, 900, 900, 900]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/crashed");
  assert.equal(taken.length, 8);
});

Deno.test("deliver() does not send again after a fault of its own where the provider's policy is to hold", async () => {
  await using room = await DeliveryRoom.open();
  await room.provider("misreporting", { unknown: "hold" });
  const taken: string[] = [];
  await using crew = room.crew({ kinds: [misreporting(taken)] });
  const id = await room.submit();
  await room.deliver(id, crew);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/unknown");
  assert.equal(taken.length, 1);
});
