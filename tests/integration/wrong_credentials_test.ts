import assert from "node:assert/strict";
import { newKeyText, parseKeys } from "../../lib/secrets/seal.ts";
import { DeliveryRoom } from "../support/delivery_room.ts";
import { type HttpService, httpServices } from "../support/http_services.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

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

/** A service of any kind, as far as this test looks at it. */
interface Service extends AsyncDisposable {
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: Readonly<Record<string, string>>;
  readonly wrongSecrets: Readonly<Record<string, string>>;
  taken(): number;
  /** How often it was asked. */
  asked(): number;
}

function overHttp(open: () => Promise<HttpService>): () => Promise<Service> {
  return async () => {
    const service = await open();
    return {
      ...service,
      taken: () => service.taken().length,
      asked: () => service.http.requests.length,
    };
  };
}

async function openRelay(): Promise<Service> {
  const auth = { username: "relay", password: "the-right-password" };
  const sink = await SmtpSink.open({ auth });
  return {
    settings: { host: "127.0.0.1", port: sink.port, tls: "none", username: auth.username },
    secrets: { password: auth.password },
    wrongSecrets: { password: "the-wrong-key" },
    taken: () => sink.mails.length,
    asked: () => sink.steps.filter(({ at }) => at === "AUTH").length,
    [Symbol.asyncDispose]: () => sink[Symbol.asyncDispose](),
  };
}

const services: Readonly<Record<string, () => Promise<Service>>> = {
  ...Object.fromEntries(Object.entries(httpServices).map(([kind, open]) => [kind, overHttp(open)])),
  smtp: openRelay,
};

for (const [kind, open] of Object.entries(services)) {
  Deno.test(`two hours of wrong credentials at ${kind} lose and dead-letter nothing`, async () => {
    await using service = await open();
    await using room = await DeliveryRoom.open();
    const keys = newKeyText("test");
    await room.provider(kind, service.settings, { secrets: service.wrongSecrets, keys });
    await using crew = room.crew({ keys: await parseKeys(keys) ?? [] });
    const mail = "From: me@example.com\r\nTo: one@example.net\r\nSubject: a\r\n\r\ntext\r\n";
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
    assert.equal(service.taken(), 0);
    // One probe a minute, whatever the number of messages that wait.
    assert.ok(
      service.asked() >= 60 && service.asked() <= 125,
      `${service.asked()} requests`,
    );
    const [log] = await room.logsOf(ids[0] ?? "" as never);
    assert.doesNotMatch(JSON.stringify(log), /the-wrong-key/);
    await room.owner.run("delete from esp_providers");
    await room.provider(kind, service.settings, { secrets: service.secrets, keys });
    for (const id of ids) {
      await room.makeDue(id);
      await room.deliver(id, crew);
      assert.equal(await room.statusOf(id), "delivered");
    }
    assert.equal(service.taken(), ids.length);
  });
}
