import assert from "node:assert/strict";
import { newKeyText, parseKeys } from "../../lib/secrets/seal.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { FakeGraph } from "../support/fake_graph.ts";
import { FakeMailgun } from "../support/fake_mailgun.ts";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import { FakeSes } from "../support/fake_ses.ts";
import { app, graphSettingsOf } from "../support/graph_app.ts";

/** A strict service, settings that it refuses, and the way to repair the account there. */
interface RefusingService extends AsyncDisposable {
  readonly settings: Record<string, unknown>;
  readonly secrets: Record<string, unknown>;
  requests(): number;
  delivered(): number;
  repair(): void;
}

const services: Readonly<Record<string, () => Promise<RefusingService>>> = {
  async sendgrid() {
    const fake = await FakeSendgrid.open();
    const secrets = { "api_key": "the-wrong-key" };
    return {
      settings: { endpoint: fake.http.origin },
      secrets,
      requests: () => fake.http.requests.length,
      delivered: () => fake.mails.length,
      repair: () => secrets["api_key"] = fake.key,
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
  async mailgun() {
    const fake = await FakeMailgun.open("the-right-key");
    const secrets = { "api_key": "the-wrong-key" };
    return {
      settings: { endpoint: fake.http.origin, domain: fake.domain },
      secrets,
      requests: () => fake.http.requests.length,
      delivered: () => fake.mails.length,
      repair: () => secrets["api_key"] = fake.key,
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
  async ses() {
    const fake = await FakeSes.open();
    return {
      settings: { endpoint: fake.http.origin, region: fake.region, "access_key_id": "AKIDLATER" },
      secrets: { "secret_access_key": "the/key" },
      requests: () => fake.http.requests.length,
      delivered: () => fake.mails.length,
      repair: () => fake.keys.set("AKIDLATER", { secret: "the/key" }),
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
  async msgraph() {
    const fake = await FakeGraph.open(app);
    fake.senders.add("sender@example.com");
    const { client_secret: right, ...settings } = graphSettingsOf(fake) as Record<string, unknown>;
    const secrets: Record<string, unknown> = { "client_secret": "the-wrong-key" };
    return {
      settings,
      secrets,
      requests: () => fake.http.requests.length,
      delivered: () => fake.sent.length,
      repair: () => secrets["client_secret"] = right,
      [Symbol.asyncDispose]: () => fake[Symbol.asyncDispose](),
    };
  },
};

/** Moves all that the database knows of time back by a minute, so that a minute has passed. */
async function passMinute(room: DeliveryRoom): Promise<void> {
  await room.owner.run(`begin;
    update messages set enqueued_at = enqueued_at - interval '1 minute',
      next_attempt_at = next_attempt_at - interval '1 minute';
    update recipients set updated_at = updated_at - interval '1 minute',
      next_attempt_at = next_attempt_at - interval '1 minute';
    update provider_state set next_probe_at = next_probe_at - interval '1 minute',
      needs_attention_since = needs_attention_since - interval '1 minute';
    commit`);
}

for (const [kind, open] of Object.entries(services)) {
  Deno.test(`two hours of wrong credentials at ${kind} lose and dead-letter nothing`, async () => {
    await using service = await open();
    await using room = await DeliveryRoom.open();
    const keys = newKeyText("test");
    await room.provider(kind, service.settings, { secrets: service.secrets, keys });
    await using crew = room.crew({ keys: await parseKeys(keys) ?? [] });
    const mail = "From: sender@example.com\r\nTo: one@example.net\r\nSubject: a\r\n\r\ntext\r\n";
    const ids = await Promise.all(Array.from({ length: 5 }, () => room.submit(["one@example.net"], mail)));
    for (let minute = 0; minute < 120; minute++) {
      for (const id of ids) await room.deliver(id, crew);
      await passMinute(room);
    }
    for (const id of ids) {
      assert.equal(await room.statusOf(id), "queued");
      const [state] = await room.recipientsOf(id);
      assert.deepEqual([state?.status, state?.attempts], ["pending", 0]);
    }
    assert.equal(service.delivered(), 0);
    // One probe a minute, whatever the number of messages that wait.
    assert.ok(service.requests() >= 60 && service.requests() <= 125, `${service.requests()} requests`);
    const [log] = await room.logsOf(ids[0] ?? "" as never);
    assert.doesNotMatch(JSON.stringify(log), /the-wrong-key|the\/key/);
    await room.owner.run("delete from esp_providers");
    service.repair();
    await room.provider(kind, service.settings, { secrets: service.secrets, keys });
    for (const id of ids) {
      await room.makeDue(id);
      await room.deliver(id, crew);
      assert.equal(await room.statusOf(id), "delivered");
    }
    assert.equal(service.delivered(), ids.length);
  });
}
