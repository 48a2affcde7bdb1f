import assert from "node:assert/strict";
import { newKeyText, parseKeys } from "../../lib/secrets/seal.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { type SinkAction, type SinkStep, SmtpSink } from "../support/smtp_sink.ts";

/** Answers RCPT by what the address begins with: 4yz or 5yz. */
function byAddress({ at, argument }: SinkStep): SinkAction | undefined {
  const code = at === "RCPT" ? /<(\d{3})/.exec(argument)?.[1] : undefined;
  return code === undefined ? undefined : { reply: `${code} ${code[0]}.0.0 as the address says` };
}

function always(at: SinkStep["at"], action: SinkAction) {
  return (step: SinkStep) => step.at === at ? action : undefined;
}

Deno.test("deliver() hands a message to the relay, byte for byte, and concludes it", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const text = "Subject: a\r\n\r\n.dot\r\nbody\r\n";
  const id = await room.submit(["one@example.net", "two@example.net"], text);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  const states = (await room.recipientsOf(id)).map(({ status, attempts }) => [status, attempts]);
  assert.deepEqual(states, [["accepted", 1], ["accepted", 1]]);
  assert.equal(sink.mails.length, 1);
  assert.deepEqual(sink.mails[0]?.to, ["<one@example.net>", "<two@example.net>"]);
  assert.equal(new TextDecoder().decode(sink.mails[0]?.bytes), text);
  const [log, ...more] = await room.logsOf(id);
  assert.deepEqual(more, []);
  assert.equal(log?.["status"], "delivered");
  assert.equal(log?.["attempt_number"], 1);
  assert.equal(log?.["response_code"], 250);
  assert.ok(Number(log?.["duration_ms"]) >= 0);
});

Deno.test("deliver() sends nothing a second time when a doorbell rings twice", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit();
  await Promise.all([room.deliver(id, crew), room.deliver(id, crew)]);
  await room.deliver(id, crew);
  assert.equal(sink.mails.length, 1);
  assert.equal((await room.logsOf(id)).length, 1);
});

Deno.test("deliver() judges each recipient by its own reply and calls again for who is pending alone", async () => {
  await using sink = await SmtpSink.open({ script: byAddress });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit(["ok@example.net", "451@example.net", "550@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  const states = (await room.recipientsOf(id)).map(({ status, attempts, code }) => [status, attempts, code]);
  assert.deepEqual(states, [
    ["accepted", 1, null],
    ["pending", 1, "smtp_451"],
    ["refused", 1, "smtp_550"],
  ]);
  await room.makeDue(id);
  await room.deliver(id, crew);
  const [first, second] = await room.logsOf(id);
  assert.equal(first?.["status"], "partial");
  assert.deepEqual(second?.["recipients"], [2]);
  assert.equal(second?.["attempt_number"], 2);
  assert.equal(sink.mails.length, 1);
});

Deno.test("deliver() makes six real attempts at a relay that is never ready, then gives up visibly", async () => {
  await using sink = await SmtpSink.open({ script: byAddress });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit(["451@example.net"]);
  const waits: number[] = [];
  for (let attempt = 1; attempt <= 5; attempt++) {
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "queued");
    waits.push((await room.recipientsOf(id))[0]?.wait ?? 0);
    await room.makeDue(id);
  }
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/exhausted");
  assert.deepEqual((await room.logsOf(id)).map((log) => log["attempt_number"]), [1, 2, 3, 4, 5, 6]);
  for (const [index, seconds] of [30, 60, 120, 300, 900].entries()) {
    const wait = waits[index] ?? 0;
    assert.ok(wait > seconds * 0.9 && wait <= seconds * 1.2, `wait ${index + 1} was ${wait} s`);
  }
});

Deno.test("deliver() spends no attempt while it is throttled, and expires in the end", async () => {
  await using sink = await SmtpSink.open({
    script: always("MAIL", { reply: "450 4.7.0 Too many messages, rate limit exceeded" }),
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit();
  const waits: number[] = [];
  for (let time = 0; time < 8; time++) {
    await room.deliver(id, crew);
    waits.push((await room.recipientsOf(id))[0]?.wait ?? 0);
    await room.makeDue(id);
  }
  assert.equal((await room.recipientsOf(id))[0]?.attempts, 0);
  assert.ok((waits[0] ?? 0) < 7 && (waits[7] ?? 0) > 300, `the waits were ${waits}`);
  await room.owner.query("update messages set enqueued_at = now() - interval '73 hours' where id = $1", [id]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/expired");
});

Deno.test("deliver() waits 5 s for the first throttled call, whatever was waited for before", async () => {
  const replies = ["451 4.3.0 Not now", "450 4.7.0 Rate limit exceeded", "450 4.7.0 Rate limit exceeded"];
  await using sink = await SmtpSink.open({
    script: ({ at }) => at === "MAIL" ? { reply: replies.shift() ?? "250 2.1.0 Ok" } : undefined,
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit();
  const waits: number[] = [];
  while (replies.length > 0) {
    await room.deliver(id, crew);
    waits.push((await room.recipientsOf(id))[0]?.wait ?? 0);
    await room.makeDue(id);
  }
  const [afterFault = 0, first = 0, second = 0] = waits;
  assert.ok(afterFault > 25 && first < 6.1 && second > 9 && second < 15, `the waits were ${waits}`);
});

Deno.test("deliver() marks a relay that refuses the credentials and sends one probe, the rest waits", async () => {
  let isRepaired = false;
  await using sink = await SmtpSink.open({
    script: ({ at }) =>
      at === "MAIL" && !isRepaired ? { reply: "530 5.7.0 Authentication required" } : undefined,
  });
  await using room = await DeliveryRoom.open();
  const provider = await room.relay(sink.port);
  await using crew = room.crew();
  const ids = [await room.submit(), await room.submit(), await room.submit()];
  for (const id of ids) await room.deliver(id, crew);
  assert.equal(sink.steps.filter(({ at }) => at === "MAIL").length, 1);
  for (const id of ids) assert.equal((await room.recipientsOf(id))[0]?.attempts, 0);
  const [activity] = await room.owner.query("select action, resource_id from activity_logs", []);
  assert.deepEqual(activity, { action: "provider.needs_attention", resource_id: provider });
  isRepaired = true;
  await room.owner.run("update provider_state set next_probe_at = now()");
  for (const id of ids) {
    await room.makeDue(id);
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "delivered");
  }
});

Deno.test("deliver() reads no body while nobody on the route may be called", async () => {
  await using room = await DeliveryRoom.open();
  await room.provider("simulator", {});
  let reads = 0;
  const store: Pick<MessageStore, "get"> = {
    get(ref) {
      reads++;
      return room.store.get(ref);
    },
  };
  await using crew = room.crew({ store });
  const ids = [];
  for (let count = 0; count < 3; count++) ids.push(await room.submit(["credentials@example.net"]));
  for (const id of ids) await room.deliver(id, crew);
  assert.equal(reads, 1);
  for (const id of ids) {
    const [state] = await room.recipientsOf(id);
    assert.deepEqual([state?.status, state?.attempts], ["pending", 0]);
    assert.ok(Number(state?.wait) > 50 && Number(state?.wait) < 75, `waits ${state?.wait} s`);
  }
});

Deno.test("deliver() marks no relay that takes mail for anybody, whatever it says to the others", async () => {
  const denials = ["550 5.7.1 Relaying denied", "550 5.1.8 Sender unwelcome here"];
  await using sink = await SmtpSink.open({
    script: ({ at, argument }) => {
      const reply = at === "RCPT"
        ? denials[["two", "three"].findIndex((name) => argument.includes(name))]
        : undefined;
      return reply === undefined ? undefined : { reply };
    },
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit(["one@example.net", "two@example.net", "three@example.net"]);
  await room.deliver(id, crew);
  const states = (await room.recipientsOf(id)).map(({ status }) => status);
  assert.deepEqual(states, ["accepted", "refused", "pending"]);
  assert.deepEqual(await room.owner.query("select action from activity_logs", []), []);
  assert.match(await room.metrics.text(), /delivery_waits_total\{cause="sender".*\} 1/);
});

Deno.test("deliver() lets a sender that a relay turns away wait alone: others' mail goes out by it", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at, argument }) =>
      at === "MAIL" && argument.includes("stranger@")
        ? { reply: "550 5.7.60 May not send as this sender" }
        : undefined,
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const [turnedAway, other] = [await room.submit(), await room.submit()];
  await room.owner.query("update messages set sender = 'stranger@example.com' where id = $1", [
    turnedAway,
  ]);
  await room.deliver(turnedAway, crew);
  await room.deliver(other, crew);
  const [state] = await room.recipientsOf(turnedAway);
  assert.deepEqual([state?.status, state?.attempts, state?.code], ["pending", 0, "smtp_550"]);
  assert.equal(await room.statusOf(other), "delivered");
  assert.deepEqual(await room.owner.query("select action from activity_logs", []), []);
});

Deno.test("deliver() calls a provider no more once five calls in a row have failed by its fault", async () => {
  await using sink = await SmtpSink.open({
    script: always("connect", { reply: "421 4.3.2 Closing", drop: true }),
  });
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const ids = await Promise.all(Array.from({ length: 7 }, () => room.submit()));
  for (const id of ids) await room.deliver(id, crew);
  const spent = await Promise.all(ids.map(async (id) => (await room.recipientsOf(id))[0]));
  assert.deepEqual(spent.map((state) => state?.attempts), [1, 1, 1, 1, 1, 0, 0]);
  assert.equal(spent[6]?.code, "breaker_open");
});

Deno.test("deliver() goes to the next provider of a rule when the first is to blame, and only then", async () => {
  await using down = await SmtpSink.open({
    script: always("connect", { reply: "421 4.3.2 Closing", drop: true }),
  });
  await using sink = await SmtpSink.open({ script: byAddress });
  await using room = await DeliveryRoom.open();
  await room.rule([await room.relay(down.port), await room.relay(sink.port)]);
  await using crew = room.crew();
  const id = await room.submit(["ok@example.net", "550@example.net"]);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "failed/refused");
  assert.deepEqual((await room.recipientsOf(id)).map(({ status, attempts }) => [status, attempts]), [
    ["accepted", 1],
    ["refused", 1],
  ]);
  assert.deepEqual((await room.logsOf(id)).map((log) => log["status"]), ["failed", "partial"]);
});

Deno.test("deliver() without a rule keeps to the oldest provider though it is down", async () => {
  await using down = await SmtpSink.open({
    script: always("connect", { reply: "421 4.3.2 Closing", drop: true }),
  });
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(down.port);
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit();
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "queued");
  assert.equal(sink.mails.length, 0);
});

Deno.test("deliver() sends again what may have been sent, or holds it where the provider says so", async () => {
  for (const unknown of ["retry", "hold"]) {
    await using sink = await SmtpSink.open({ script: always("dot", { drop: true }) });
    await using room = await DeliveryRoom.open();
    await room.relay(sink.port, { unknown });
    await using crew = room.crew();
    const id = await room.submit();
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), unknown === "hold" ? "failed/unknown" : "queued");
    const [recipient] = await room.recipientsOf(id);
    assert.equal(recipient?.status, unknown === "hold" ? "unknown" : "pending");
    assert.equal(recipient?.attempts, 1);
    assert.equal((await room.logsOf(id))[0]?.["status"], "unknown");
  }
});

Deno.test("deliver() lets mail of a suspended group wait a minute, and delivers it afterwards", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit();
  await room.owner.query("update groups set status = 'suspended' where id = $1", [room.account.group]);
  await room.deliver(id, crew);
  const [recipient] = await room.recipientsOf(id);
  assert.deepEqual([recipient?.status, recipient?.attempts, recipient?.code], ["pending", 0, "suspended"]);
  assert.ok((recipient?.wait ?? 0) > 50 && (recipient?.wait ?? 0) < 75);
  await room.owner.query("update groups set status = 'active' where id = $1", [room.account.group]);
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
});

Deno.test("deliver() waits for a provider where there is none, or prints where that is wanted", async () => {
  await using room = await DeliveryRoom.open();
  const id = await room.submit();
  {
    await using crew = room.crew({ withoutProvider: "wait" });
    await room.deliver(id, crew);
    assert.equal(await room.statusOf(id), "queued");
    assert.equal((await room.recipientsOf(id))[0]?.code, "no_provider");
  }
  await using crew = room.crew({ withoutProvider: "stdout" });
  await room.makeDue(id);
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.match(room.printed.join(""), /one@example\.net/);
});

Deno.test("deliver() waits while every provider is disabled, also where none at all would print", async () => {
  await using room = await DeliveryRoom.open();
  await room.relay(2525);
  await room.owner.run("update esp_providers set enabled = false");
  await using crew = room.crew({ withoutProvider: "stdout" });
  const id = await room.submit();
  await room.deliver(id, crew);
  assert.equal((await room.recipientsOf(id))[0]?.code, "no_provider");
  assert.deepEqual(room.printed, []);
});

Deno.test("deliver() calls a body that is gone a storage error, with a row that names no provider", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  let reads = 0;
  const store: Pick<MessageStore, "get"> = { get: () => Promise.resolve(void reads++) };
  await using crew = room.crew({ store });
  const id = await room.submit();
  await room.deliver(id, crew);
  assert.equal(reads, 4);
  assert.equal(await room.statusOf(id), "storage_error");
  const [log] = await room.logsOf(id);
  assert.equal(log?.["provider_id"], null);
  assert.equal(log?.["status"], "failed");
  assert.match(String(log?.["last_error"]), /body is gone/);
});

Deno.test("deliver() waits without an attempt while the store is down", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew({ store: { get: () => Promise.reject(new Error("store is down")) } });
  const id = await room.submit();
  await room.deliver(id, crew);
  const [recipient] = await room.recipientsOf(id);
  assert.deepEqual([recipient?.status, recipient?.attempts, recipient?.code], ["pending", 0, "store_down"]);
  assert.deepEqual(await room.logsOf(id), []);
});

Deno.test("deliver() opens sealed secrets, and waits with a provider whose key is unknown", async () => {
  await using sink = await SmtpSink.open({ auth: { username: "relay", password: "sealed password" } });
  await using room = await DeliveryRoom.open();
  const text = newKeyText("k1");
  await room.relay(sink.port, { username: "relay" }, text);
  const id = await room.submit();
  {
    await using crew = room.crew({ keys: await parseKeys(newKeyText("k2")) ?? [] });
    await room.deliver(id, crew);
    const [recipient] = await room.recipientsOf(id);
    assert.deepEqual([recipient?.status, recipient?.attempts, recipient?.code], [
      "pending",
      0,
      "cannot_open",
    ]);
  }
  await room.makeDue(id);
  await room.owner.run("update provider_state set next_probe_at = now()");
  await using crew = room.crew({ keys: await parseKeys(text) ?? [] });
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.equal(sink.mails[0]?.user, "relay");
});

Deno.test("deliver() cuts recipients to what a call takes, and settles each call before the next", async () => {
  await using sink = await SmtpSink.open();
  await using room = await DeliveryRoom.open();
  await room.relay(sink.port);
  await using crew = room.crew();
  const id = await room.submit(Array.from({ length: 250 }, (_, n) => `r${n}@example.net`));
  await room.deliver(id, crew);
  assert.equal(await room.statusOf(id), "delivered");
  assert.deepEqual(sink.mails.map(({ to }) => to.length), [100, 100, 50]);
  assert.deepEqual((await room.logsOf(id)).map((log) => log["status"]), [
    "delivered",
    "delivered",
    "delivered",
  ]);
});
