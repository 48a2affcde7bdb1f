import assert from "node:assert/strict";
import { createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { testApi } from "../support/api.ts";
import { addProvider, addSent, asSuperuser, post, stateOf, tenant } from "../support/webhook_scene.ts";

const seconds = () => Math.floor(Date.now() / 1000);

/** A SendGrid account's signing, made by what the test itself knows of it. */
function sendgridAccount() {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = publicKey.export({ type: "spki", format: "der" }).toString("base64");
  return {
    provider: {
      "provider_type": "sendgrid",
      "api_key": "SG.x",
      "smtp_config": { webhook: { "public_key": key } },
    },
    headers: (body: string, at = String(seconds())) => ({
      "x-twilio-email-event-webhook-timestamp": at,
      "x-twilio-email-event-webhook-signature": createSign("SHA256").update(at + body).sign(
        privateKey,
        "base64",
      ),
    }),
  };
}

function sendgridEvent(event: string, ids: { message: string; call: string }, more: object = {}) {
  return {
    email: "to@there.example",
    timestamp: seconds(),
    event,
    "sg_event_id": crypto.randomUUID(),
    "sg_message_id": "abc.filter0001.1.2",
    "message-id": ids.message,
    "call-id": ids.call,
    ...more,
  };
}

Deno.test("a signed report of SendGrid is stored once and moves its recipient, by either path", async () => {
  await using api = await testApi();
  const account = sendgridAccount();
  const alpha = await tenant(api, "alpha", account.provider);
  const sent = await addSent(api, alpha);
  const body = JSON.stringify([sendgridEvent("delivered", sent), sendgridEvent("open", sent)]) + "\r\n";
  for (const path of ["/api/v1/webhooks/sendgrid", alpha.webhookPath]) {
    assert.deepEqual(await post(api, path, body, account.headers(body)), {
      status: 200,
      body: { status: "ok" },
    });
    const state = await stateOf(api, sent.message);
    assert.deepEqual(state.recipients, ["delivered"]);
    assert.deepEqual(state.events.toSorted(), ["delivered", "opened"]);
  }
  const [line] = api.log.lines.filter(({ sentence }) => sentence === "report received");
  assert.deepEqual(line?.fields, {
    correlationId: "c",
    messageId: sent.message,
    call: sent.call,
    provider: alpha.provider,
    providerType: "sendgrid",
    outcome: "delivered, opened",
    count: 2,
  });
  const late = JSON.stringify([
    sendgridEvent("deferred", sent),
    sendgridEvent("bounce", sent, { type: "bounce" }),
  ]);
  assert.equal((await post(api, alpha.webhookPath, late, account.headers(late))).status, 200);
  assert.deepEqual((await stateOf(api, sent.message)).recipients, ["bounced"]);
  assert.equal((await stateOf(api, sent.message)).message, "delivered", "it was taken by the service");
  assert.deepEqual(api.faults, []);
});

Deno.test("a provider's webhook_path is changed by request: the one before is unknown at once", async () => {
  await using api = await testApi();
  const account = sendgridAccount();
  const alpha = await tenant(api, "alpha", account.provider);
  const beta = await tenant(api, "beta", { "provider_type": "simulator" });
  const sent = await addSent(api, alpha);
  const rotate = (id: string, token: string) =>
    api.ask("POST", `/api/v1/providers/${id}/rotate-webhook`, { token });
  const rotated = await rotate(alpha.provider, alpha.token);
  assert.equal(rotated.status, 200);
  const path = rotated.body.webhook_path;
  assert.match(path, /^\/api\/v1\/webhooks\/sendgrid\/[0-9a-f-]{36}$/);
  assert.notEqual(path, alpha.webhookPath);
  const body = JSON.stringify([sendgridEvent("delivered", sent), sendgridEvent("open", sent)]);
  assert.equal((await post(api, alpha.webhookPath, body, account.headers(body))).status, 404);
  assert.equal((await post(api, path, body, account.headers(body))).status, 200);
  assert.equal((await post(api, path, body, account.headers(body))).status, 200);
  assert.equal((await post(api, path, body)).status, 401);
  assert.equal((await post(api, path, "{}")).status, 400);
  assert.deepEqual(api.reports, [
    ["sendgrid", "unknown", 0],
    ["sendgrid", "stored", 2],
    ["sendgrid", "stored", 0],
    ["sendgrid", "unsigned", 0],
    ["sendgrid", "unreadable", 0],
  ]);
  const none = await rotate(beta.provider, beta.token);
  assert.deepEqual([none.status, none.body.code], [409, "conflict"]);
  assert.equal((await rotate(alpha.provider, beta.token)).status, 404);
  const told = await api.ask("GET", `/api/v1/groups/${alpha.group}/activity?action=provider.rotate_webhook`, {
    token: alpha.token,
  });
  assert.equal(told.body.length, 1);
  const token = (one: string) => one.slice(one.lastIndexOf("/") + 1);
  assert.doesNotMatch(JSON.stringify(told.body), new RegExp(`${token(path)}|${token(alpha.webhookPath)}`));
});

Deno.test("what is not signed, signed by another, changed or old is refused and stores nothing", async () => {
  await using api = await testApi();
  const [account, other] = [sendgridAccount(), sendgridAccount()];
  const alpha = await tenant(api, "alpha", account.provider);
  const sent = await addSent(api, alpha);
  const body = JSON.stringify([sendgridEvent("delivered", sent)]);
  const old = String(seconds() - 3 * 86_400);
  const attempts: readonly Record<string, string>[] = [
    {},
    other.headers(body),
    account.headers(`${body} `),
    account.headers(body, old),
    { ...account.headers(body), "x-twilio-email-event-webhook-timestamp": String(seconds() + 1) },
    { ...account.headers(body), "x-twilio-email-event-webhook-signature": "AAAA" },
  ];
  for (const path of ["/api/v1/webhooks/sendgrid", alpha.webhookPath]) {
    for (const headers of attempts) {
      const answer = await post(api, path, body, headers);
      assert.deepEqual([answer.status, answer.body.code], [401, "signature_invalid"]);
    }
  }
  const unknown = JSON.stringify([
    sendgridEvent("delivered", { message: crypto.randomUUID(), call: sent.call }),
  ]);
  const answer = await post(api, "/api/v1/webhooks/sendgrid", unknown, account.headers(unknown));
  assert.equal(answer.status, 401, "no key is tried for messages that nobody sent");
  assert.equal((await post(api, "/api/v1/webhooks/sendgrid", "{", {})).status, 400);
  const nobody = `/api/v1/webhooks/sendgrid/${crypto.randomUUID()}`;
  assert.equal((await post(api, nobody, body, account.headers(body))).status, 404);
  assert.deepEqual(await stateOf(api, sent.message), {
    recipients: ["accepted"],
    events: [],
    message: "delivered",
    failure: null,
  });
});

Deno.test("a provider's report changes its own messages alone, whatever it names", async () => {
  await using api = await testApi();
  const [mine, theirs] = [sendgridAccount(), sendgridAccount()];
  const alpha = await tenant(api, "alpha", mine.provider);
  const beta = await tenant(api, "beta", theirs.provider);
  const second = await addProvider(api, alpha, { ...theirs.provider, name: "second" });
  const sent = await addSent(api, alpha, { providerMessageId: "abc" });
  const body = JSON.stringify([sendgridEvent("spamreport", sent)]);
  assert.equal((await post(api, beta.webhookPath, body, theirs.headers(body))).status, 200);
  assert.equal((await post(api, second.webhookPath, body, theirs.headers(body))).status, 200);
  assert.equal((await post(api, "/api/v1/webhooks/sendgrid", body, theirs.headers(body))).status, 401);
  assert.deepEqual((await stateOf(api, sent.message)).events, []);
  const both = JSON.stringify([sendgridEvent("delivered", await addSent(api, beta)), ...JSON.parse(body)]);
  assert.equal((await post(api, "/api/v1/webhooks/sendgrid", both, theirs.headers(both))).status, 200);
  assert.deepEqual((await stateOf(api, sent.message)).recipients, ["accepted"]);
  // By SendGrid's own id, where ours did not come back.
  const bare = JSON.stringify([sendgridEvent("delivered", { message: "", call: "" })]);
  assert.equal((await post(api, "/api/v1/webhooks/sendgrid", bare, mine.headers(bare))).status, 200);
  assert.deepEqual((await stateOf(api, sent.message)).recipients, ["delivered"]);
  await asSuperuser(api, "update esp_providers set enabled = false where id = $1", [alpha.provider]);
  assert.equal((await post(api, "/api/v1/webhooks/sendgrid", bare, mine.headers(bare))).status, 401);
});

Deno.test("a report settles who nobody knew about, and a dead letter whose recipients were served is none", async () => {
  await using api = await testApi();
  const account = sendgridAccount();
  const alpha = await tenant(api, "alpha", account.provider);
  const addresses = ["to@there.example", "two@there.example"];
  const dead = { addresses, status: "failed", recipientStatus: "unknown", failure: "unknown" };
  const sent = await addSent(api, alpha, dead);
  const report = async (event: string, email: string) => {
    const body = JSON.stringify([sendgridEvent(event, sent, { email, reason: "Invalid" })]);
    assert.equal((await post(api, alpha.webhookPath, body, account.headers(body))).status, 200);
    return await stateOf(api, sent.message);
  };
  const first = await report("processed", "TO@there.example");
  assert.deepEqual([first.recipients, first.message, first.failure], [
    ["accepted", "unknown"],
    "failed",
    "unknown",
  ]);
  const second = await report("dropped", "two@there.example");
  assert.deepEqual([second.recipients, second.message, second.failure], [
    ["accepted", "refused"],
    "failed",
    "refused",
  ]);
  const third = await report("delivered", "two@there.example");
  assert.deepEqual([third.recipients, third.message, third.failure], [
    ["accepted", "delivered"],
    "delivered",
    null,
  ]);
});

Deno.test("events end the same in whatever order they are reported", async () => {
  await using api = await testApi();
  const account = sendgridAccount();
  const alpha = await tenant(api, "alpha", account.provider);
  for (const order of [["delivered", "spamreport", "processed"], ["spamreport", "processed", "delivered"]]) {
    const sent = await addSent(api, alpha);
    for (const event of order) {
      const body = JSON.stringify([sendgridEvent(event, sent)]);
      await post(api, alpha.webhookPath, body, account.headers(body));
    }
    assert.deepEqual((await stateOf(api, sent.message)).recipients, ["complained"]);
  }
});

const signingKey = "key-of-the-webhooks";

function mailgunPost(event: object, options: { key?: string; token?: string; at?: number } = {}) {
  const {
    key = signingKey,
    token = crypto.randomUUID().replaceAll("-", "") + "x".repeat(18),
    at = seconds(),
  } = options;
  const signature = createHmac("sha256", key).update(`${at}${token}`).digest("hex");
  return JSON.stringify({
    signature: { timestamp: String(at), token, signature },
    "event-data": {
      id: crypto.randomUUID(),
      timestamp: seconds() + 0.25,
      recipient: "to@there.example",
      ...event,
    },
  });
}

Deno.test("a signature of Mailgun holds for the first event that it came with, and for some hours", async () => {
  await using api = await testApi();
  const alpha = await tenant(api, "alpha", {
    "provider_type": "mailgun",
    "api_key": "key-1",
    "smtp_config": { domain: "mg.alpha.example", webhook: { "signing_key": signingKey } },
  });
  const sent = await addSent(api, alpha, { providerMessageId: "1.2@mg.alpha.example" });
  const ids = { "user-variables": { "message-id": sent.message, "call-id": sent.call } };
  const token = "t".repeat(50);
  const first = mailgunPost({ event: "delivered", ...ids }, { token });
  for (const path of [alpha.webhookPath, "/api/v1/webhooks/mailgun", alpha.webhookPath]) {
    assert.equal((await post(api, path, first)).status, 200, "the same again is no other");
  }
  const replayed = JSON.parse(mailgunPost({ event: "complained", ...ids }));
  replayed.signature = JSON.parse(first).signature;
  assert.equal((await post(api, alpha.webhookPath, JSON.stringify(replayed))).status, 401);
  const wrong = [
    mailgunPost({ event: "complained", ...ids }, { key: "another" }),
    mailgunPost({ event: "complained", ...ids }, { at: seconds() - 86_400 }),
    mailgunPost({ event: "complained", ...ids }, { at: seconds() + 86_400 }),
  ];
  for (const body of wrong) assert.equal((await post(api, alpha.webhookPath, body)).status, 401);
  assert.equal(
    (await post(api, alpha.webhookPath, mailgunPost({ event: "x" }, { token: "short" }))).status,
    400,
  );
  assert.deepEqual(await stateOf(api, sent.message), {
    recipients: ["delivered"],
    events: ["delivered"],
    message: "delivered",
    failure: null,
  });
  const child = JSON.parse(mailgunPost({ event: "opened", ...ids }, { key: "a child account's" }));
  const { timestamp, token: own } = child.signature;
  child.signature["parent-signature"] = createHmac("sha256", signingKey).update(timestamp + own).digest(
    "hex",
  );
  assert.equal((await post(api, alpha.webhookPath, JSON.stringify(child))).status, 200);
  const byTheirs = mailgunPost({
    event: "failed",
    severity: "permanent",
    reason: "bounce",
    message: { headers: { "message-id": "1.2@mg.alpha.example" } },
  });
  assert.equal((await post(api, "/api/v1/webhooks/mailgun", byTheirs)).status, 200);
  assert.deepEqual((await stateOf(api, sent.message)).recipients, ["bounced"]);
  assert.deepEqual(api.faults, []);
});
