import assert from "node:assert/strict";
import { smtpRelay } from "../../lib/esp/smtp_relay.ts";
import type { CallBounds } from "../../lib/smtp/channel.ts";
import { SmtpClient } from "../../lib/smtp/client.ts";
import { wholeMessage } from "../../lib/smtp/message_bytes.ts";
import { SmtpPool } from "../../lib/smtp/pool.ts";
import { until } from "../../services/dev/processes.ts";
import { deliverInWords, openEsp, parcelOf } from "../support/parcels.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import type { SinkAction } from "../support/smtp_sink.ts";

const { signal } = new AbortController();

Deno.test("smtp relay: one connection serves a hundred messages, then the next one begins", async () => {
  await using sink = await SmtpSink.open();
  await using esp = relayTo(sink);
  for (let index = 0; index < 205; index++) {
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  }
  assert.equal(sink.connections, 3);
  const perConnection = [1, 2, 3].map((number) =>
    sink.mails.filter(({ connection }) => connection === number).length
  );
  assert.deepEqual(perConnection, [100, 100, 5]);
});

Deno.test("smtp relay: calls at the same time share at most twenty connections", async () => {
  await using sink = await SmtpSink.open({ script: ({ at }) => at === "dot" ? { delayMs: 5 } : undefined });
  await using esp = relayTo(sink);
  const calls = Array.from(
    { length: 100 },
    (_, index) => deliverInWords(esp, parcelOf([`r${index}@example.org`])),
  );
  assert.deepEqual(await Promise.all(calls), calls.map(() => ["accepted"]));
  assert.equal(sink.connections, 20);
  assert.equal(new Set(sink.mails.flatMap(({ to }) => to)).size, 100);
});

Deno.test("smtp relay: a refused message leaves the connection usable for the next", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at, argument }) =>
      at === "RCPT" && argument.includes("nobody") ? { reply: "550 5.1.1 unknown" } : undefined,
  });
  await using esp = relayTo(sink);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["nobody@example.org"])), ["refused message smtp_550"]);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  assert.equal(sink.connections, 1);
  assert.ok(sink.steps.some(({ at }) => at === "RSET"));
});

const staleness: Readonly<Record<string, SinkAction>> = {
  "is dropped": { drop: true },
  "is closed with 421": { reply: "421 4.4.2 idle too long", drop: true },
};
for (const [name, action] of Object.entries(staleness)) {
  Deno.test(`smtp relay: a kept connection that ${name} at the next MAIL is replaced within the call`, async () => {
    await using sink = await SmtpSink.open({
      script: ({ at, transaction, connection }) =>
        at === "MAIL" && connection === 1 && transaction === 2 ? action : undefined,
    });
    await using esp = relayTo(sink);
    for (let index = 0; index < 3; index++) {
      assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
    }
    assert.equal(sink.connections, 2);
    assert.equal(sink.mails.length, 3);
  });

  Deno.test(`smtp relay: a new connection that ${name} at MAIL is a fault, and tried once`, async () => {
    await using sink = await SmtpSink.open({
      script: ({ at, transaction, connection }) =>
        at === "MAIL" && (connection > 1 || transaction > 1) ? action : undefined,
    });
    await using esp = relayTo(sink);
    assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
    const [outcome] = await deliverInWords(esp, parcelOf(["b@example.org"]));
    assert.match(outcome ?? "", /^retry provider (connection_lost|service_closing)$/);
    assert.equal(sink.connections, 2);
  });
}

Deno.test("smtp relay: a kept connection lost after MAIL was taken is a fault of its own, nothing is sent twice", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at, transaction }) => at === "RCPT" && transaction === 2 ? { drop: true } : undefined,
  });
  await using esp = relayTo(sink);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), ["accepted"]);
  assert.deepEqual(await deliverInWords(esp, parcelOf(["b@example.org"])), [
    "retry provider connection_lost",
  ]);
  assert.equal(sink.mails.length, 1);
});

Deno.test("smtp relay: connections that the relay closes while idle are forgotten", async () => {
  await using sink = await SmtpSink.open();
  await using esp = relayTo(sink);
  await Promise.all([1, 2, 3].map(() => deliverInWords(esp, parcelOf(["b@example.org"]))));
  sink.dropAll();
  const outcomes = await Promise.all([1, 2, 3].map(() => deliverInWords(esp, parcelOf(["b@example.org"]))));
  assert.deepEqual(outcomes.flat(), ["accepted", "accepted", "accepted"]);
  assert.equal(sink.mails.length, 6);
});

Deno.test("smtp relay: disposing says QUIT and leaves no connection", async () => {
  await using sink = await SmtpSink.open();
  const esp = relayTo(sink);
  await Promise.all([1, 2, 3].map(() => deliverInWords(esp, parcelOf(["b@example.org"]))));
  await esp[Symbol.asyncDispose]();
  // A goodbye that was not answered in time may still have to be read.
  const goodbyes = () => sink.steps.filter(({ at }) => at === "QUIT").length;
  await until(() => goodbyes() === sink.connections && sink.open === 0, 60_000);
  assert.deepEqual([goodbyes(), sink.open], [sink.connections, 0]);
});

Deno.test("SmtpPool closes a connection that nobody needs for the idle time", async () => {
  const gone = Promise.withResolvers<void>();
  await using sink = await SmtpSink.open({
    script: ({ at }) => {
      if (at === "QUIT") gone.resolve();
      return undefined;
    },
  });
  await using pool = poolOf(sink, { open: 2, idleMs: 20, messages: 10 });
  pool.give(await pool.take(bounds()));
  await gone.promise;
  await sendBy(pool);
  assert.equal(sink.connections, 2);
});

Deno.test("SmtpPool lets a call wait for a connection until its deadline", async () => {
  await using sink = await SmtpSink.open();
  await using pool = poolOf(sink, { open: 1, idleMs: 1000, messages: 10 });
  const held = await pool.take(bounds());
  await assert.rejects(pool.take(bounds(30)), { code: "connections_busy" });
  await assert.rejects(pool.take({ ...bounds(), signal: AbortSignal.abort() }), { code: "aborted" });
  const next = pool.take(bounds());
  pool.give(held);
  pool.give(await next);
  assert.equal(sink.connections, 1);
});

function relayTo(sink: SmtpSink) {
  return openEsp(smtpRelay, { host: "127.0.0.1", port: sink.port, tls: "none" });
}

function poolOf(sink: SmtpSink, limits: ConstructorParameters<typeof SmtpPool>[1]): SmtpPool {
  const target = { address: "127.0.0.1", port: sink.port, tls: "none", verify: true } as const;
  return new SmtpPool((call) => SmtpClient.open(target, call), limits);
}

async function sendBy(pool: SmtpPool): Promise<void> {
  const client = await pool.take(bounds());
  const envelope = {
    mailFrom: "a@b.example",
    recipients: [{ address: "c@d.example" }],
    eightBit: false,
    smtpUtf8: false,
  };
  const result = await client.send(envelope, wholeMessage(new Uint8Array(), new Set()), bounds());
  assert.equal(result.answer?.code, 250);
  pool.give(client);
}

function bounds(ms = 60_000): CallBounds {
  return { deadline: performance.now() + ms, signal };
}
