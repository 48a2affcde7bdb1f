import assert from "node:assert/strict";
import type { MessageId, ProviderId } from "../../lib/ids.ts";
import type { Body } from "../../lib/store/body.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { type SinkStep, SmtpSink } from "../support/smtp_sink.ts";

/** A provider of a rule, and its weight where it has one. */
type Named = ProviderId | readonly [ProviderId, number];

async function addRule(
  room: DeliveryRoom,
  priority: number,
  conditions: Record<string, unknown>,
  providers: readonly Named[],
): Promise<string> {
  const id = crypto.randomUUID();
  const { group } = room.account;
  await room.owner.query(
    "insert into routing_rules (id, group_id, priority, conditions) values ($1, $2, $3, $4)",
    [id, group, priority, JSON.stringify(conditions)],
  );
  for (const [index, named] of providers.entries()) {
    const [provider, weight] = typeof named === "string" ? [named, null] : named;
    await room.owner.query(
      `insert into routing_rule_providers (group_id, rule_id, position, provider_id, weight)
       values ($1, $2, $3, $4, $5)`,
      [group, id, index + 1, provider, weight],
    );
  }
  return id;
}

/** A relay that is never ready. */
function down({ at }: SinkStep) {
  return at === "MAIL" ? { reply: "451 4.3.0 Not now" } : undefined;
}

function received(sink: SmtpSink): readonly string[] {
  return sink.mails.flatMap(({ to }) => to);
}

/** Each call of a message: provider, recipients, and what was stored of its route. */
async function callsOf(room: DeliveryRoom, id: MessageId) {
  return (await room.logsOf(id)).map((log) => [log["provider_id"], log["recipients"], log["metadata"]]);
}

Deno.test("deliver() sends recipients of one message by the rules that are for them, and stores each decision", async () => {
  await using first = await SmtpSink.open();
  await using second = await SmtpSink.open();
  await using third = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const [a, b, c] = [
    await room.relay(first.port),
    await room.relay(second.port),
    await room.relay(third.port),
  ];
  const toNet = await addRule(room, 2, { "recipient_domain": "*.net" }, [b]);
  const toCom = await addRule(room, 1, { "recipient_domain": ["example.com", "example.info"] }, [c, b]);
  await using crew = room.crew();
  const id = await room.submit(["1@example.net", "2@example.com", "3@example.org", "4@Example.INFO"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(received(second), ["<1@example.net>"]);
  assert.deepEqual(received(third), ["<2@example.com>", "<4@Example.INFO>"]);
  assert.deepEqual(received(first), ["<3@example.org>"]);
  assert.deepEqual(await callsOf(room, id), [
    [b, [1], { routing: { "rule_id": toNet, position: 1 } }],
    [c, [2, 4], { routing: { "rule_id": toCom, position: 1 } }],
    [a, [3], null],
  ]);
});

Deno.test("deliver() falls back within the list of a rule alone, and lets the other recipients go their way", async () => {
  await using broken = await SmtpSink.open({ script: down });
  await using ready = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const [bad, good] = [await room.relay(broken.port), await room.relay(ready.port)];
  const alone = await addRule(room, 1, { "recipient_domain": "example.com" }, [bad]);
  const both = await addRule(room, 2, { "recipient_domain": "example.net" }, [bad, good]);
  await using crew = room.crew();
  const id = await room.submit(["1@example.com", "2@example.net", "3@example.com"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  const states = async () => (await room.recipientsOf(id)).map(({ status, attempts }) => [status, attempts]);
  assert.deepEqual(await states(), [["pending", 1], ["accepted", 1], ["pending", 1]]);
  for (const { status, wait } of await room.recipientsOf(id)) {
    if (status === "pending") assert.ok((wait ?? 0) > 20, `waits ${wait} s`);
  }
  assert.deepEqual(received(ready), ["<2@example.net>"]);
  assert.deepEqual(await callsOf(room, id), [
    [bad, [1, 3], { routing: { "rule_id": alone, position: 1 } }],
    [bad, [2], { routing: { "rule_id": both, position: 1 } }],
    [good, [2], { routing: { "rule_id": both, position: 2 } }],
  ]);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.deepEqual(await states(), [["pending", 2], ["accepted", 1], ["pending", 2]]);
  assert.deepEqual(received(ready), ["<2@example.net>"]);
});

Deno.test("deliver() judges everybody once when the last leg concludes and those before it have failed", async () => {
  await using broken = await SmtpSink.open({ script: down });
  await using ready = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const [good, bad] = [await room.relay(ready.port), await room.relay(broken.port)];
  const none = await room.relay(ready.port);
  await room.owner.query("update esp_providers set enabled = false where id = $1", [none]);
  await addRule(room, 1, { "recipient_domain": "example.com" }, [none]);
  await addRule(room, 2, { "recipient_domain": "example.net" }, [bad]);
  await using crew = room.crew();
  const id = await room.submit(["1@example.com", "2@example.net", "3@example.org"]);
  await room.deliver(id, crew);
  const states = (await room.recipientsOf(id)).map(({ status, attempts, code }) => [status, attempts, code]);
  assert.deepEqual(states, [["pending", 0, "no_provider"], ["pending", 1, "smtp_451"], [
    "accepted",
    1,
    null,
  ]]);
  assert.equal(await room.statusOf(id), "queued");
  await room.owner.query("update esp_providers set enabled = true where id = any($1)", [[none, good]]);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.deepEqual(received(ready), ["<3@example.org>", "<1@example.com>"]);
});

Deno.test("deliver() waits where the only rule has no enabled provider, whatever else there is", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  const off = await room.relay(sink.port);
  await room.owner.query("update esp_providers set enabled = false where id = $1", [off]);
  await addRule(room, 1, { sender: "*@example.com" }, [off]);
  await using crew = room.crew();
  const id = await room.submit();
  await room.deliver(id, crew);
  assert.deepEqual([await room.statusOf(id), sink.mails.length], ["queued", 0]);
  assert.equal((await room.recipientsOf(id))[0]?.code, "no_provider");
});

Deno.test("deliver() shares messages among the providers of a rule by their weights", async () => {
  await using one = await SmtpSink.open();
  await using two = await SmtpSink.open();
  await using never = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const providers = [
    await room.relay(never.port),
    await room.relay(one.port),
    await room.relay(two.port),
  ] as const;
  await addRule(room, 1, {}, [[providers[0], 0], [providers[1], 50], [providers[2], 50]]);
  await using crew = room.crew();
  const ids = await Promise.all(Array.from({ length: 40 }, () => room.submit()));
  await Promise.all(ids.map((id) => room.deliver(id, crew)));
  for (const id of ids) assert.equal(await room.statusOf(id), "delivered");
  const counts = [never, one, two].map((sink) => sink.mails.length);
  assert.equal(counts[0], 0);
  // Fewer than 5 of 40 by chance: once in a million times.
  assert.ok(counts.slice(1).every((count) => count >= 5), `the relays had ${counts}`);
  assert.equal(counts.reduce((sum, count) => sum + count), 40);
});

Deno.test("deliver() looks into a message for rules that ask for its header or its files", async () => {
  await using other = await SmtpSink.open();
  await using campaign = await SmtpSink.open();
  await using files = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(other.port);
  const [c, f] = [await room.relay(campaign.port), await room.relay(files.port)];
  await addRule(room, 1, {
    header: { name: "X-Campaign", matches: "fr\u00fchling*" },
    "header_from": "*.shop.example",
    subject: "*angebot*",
  }, [c]);
  await addRule(room, 2, { attachment: true }, [f]);
  await using crew = room.crew();
  const header = "From: Shop <news@mail.shop.example>\r\nSubject: =?utf-8?q?Das_Angebot?=\r\n" +
    "X-Campaign: =?utf-8?q?Fr=C3=BChling?=\r\n 7\r\n";
  const part = "Content-Type: text/plain\r\n\r\nHello";
  const pdf = "Content-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment\r\n\r\nAAAA";
  const multipart = (...parts: readonly string[]) =>
    `Subject: b\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n${
      parts.map((text) => `--b\r\n${text}\r\n`).join("")
    }--b--\r\n`;
  const texts = [
    `${header}\r\nHello\r\n`,
    multipart(part, pdf),
    multipart(part, part),
    "Subject: c\r\n\r\nHello\r\n",
  ];
  for (const text of texts) {
    const id = await room.submit(undefined, text);
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "delivered");
  }
  const heard = (sink: SmtpSink) => sink.mails.map(({ bytes }) => new TextDecoder().decode(bytes));
  assert.deepEqual(heard(campaign), [texts[0]]);
  assert.deepEqual(heard(files), [texts[1]]);
  assert.deepEqual(heard(other), texts.slice(2));
});

/** A store that counts how often its bodies are read, and can fail to read them. */
class WatchedStore implements Pick<MessageStore, "get"> {
  reads = 0;
  isBroken = false;
  constructor(readonly inner: Pick<MessageStore, "get">) {}

  async get(ref: Parameters<MessageStore["get"]>[0]): Promise<Body | undefined> {
    const body = await this.inner.get(ref);
    if (body === undefined) return undefined;
    const count = () => {
      this.reads++;
      if (this.isBroken) throw new Error("Cannot read the body");
    };
    return {
      size: body.size,
      sha256: body.sha256,
      bytes: () => (count(), body.bytes()),
      stream: () => (count(), body.stream()),
      [Symbol.asyncDispose]: () => body[Symbol.asyncDispose](),
    };
  }
}

Deno.test("deliver() reads a body for routing only where a rule asks for what is in it", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(sink.port);
  const store = new WatchedStore(room.store);
  await using crew = room.crew({ store });
  const readsOfOne = async () => {
    const before = store.reads;
    const id = await room.submit();
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "delivered");
    return store.reads - before;
  };
  const without = await readsOfOne();
  await addRule(room, 5, { sender: "*", "recipient_domain": "*", size: { min: 0 }, percentage: 50 }, [
    provider,
  ]);
  assert.equal(await readsOfOne(), without);
  await addRule(room, 6, { subject: "*" }, [provider]);
  assert.equal(await readsOfOne(), without + 1);
});

Deno.test("deliver() puts a message off that it cannot look into, and routes it when it can", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(sink.port);
  await addRule(room, 1, { subject: "*" }, [provider]);
  const store = new WatchedStore(room.store);
  store.isBroken = true;
  await using crew = room.crew({ store });
  const id = await room.submit();
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  const [state] = await room.recipientsOf(id);
  assert.deepEqual([state?.attempts, state?.code], [0, "store_down"]);
  store.isBroken = false;
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.deepEqual([await room.statusOf(id), sink.mails.length], ["delivered", 1]);
});

Deno.test("deliver() follows a rule that was changed with the next message, and skips what it does not understand", async () => {
  await using first = await SmtpSink.open();
  await using second = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  const [, other] = [await room.relay(first.port), await room.relay(second.port)];
  await using crew = room.crew();
  const send = async () => {
    const id = await room.submit();
    await room.deliver(id, crew);
    return [first.mails.length, second.mails.length];
  };
  assert.deepEqual(await send(), [1, 0]);
  const rule = await addRule(room, 1, {}, [other]);
  assert.deepEqual(await send(), [1, 1]);
  await room.owner.query(`update routing_rules set conditions = '{"phase_of_moon": "new"}' where id = $1`, [
    rule,
  ]);
  assert.deepEqual(await send(), [2, 1]);
  assert.ok(room.log.lines.some((line) => JSON.stringify(line).includes("routing rule skipped")));
});
