import assert from "node:assert/strict";
import { type TestApi, testApi } from "../support/api.ts";
import { FakeSns } from "../support/fake_sns.ts";
import { addProvider, addSent, post, type SentMessage, stateOf, tenant } from "../support/webhook_scene.ts";

const plain = "/api/v1/webhooks/ses";

function sesProvider(topic: string, more: object = {}) {
  const keys = { "access_key_id": "AKIA", "secret_access_key": "s3cret" };
  return {
    "provider_type": "ses",
    "smtp_config": { region: "eu-west-1", ...keys, "topic_arn": topic, ...more },
  };
}

const now = () => new Date().toISOString();

function published(eventType: string, { message, call }: SentMessage, more: object = {}) {
  return {
    eventType,
    mail: {
      timestamp: now(),
      messageId: "0100-ses",
      destination: ["to@there.example", "two@there.example"],
      tags: { "message-id": [message], "call-id": [call], "ses:caller-identity": ["x"] },
    },
    ...more,
  };
}

const delivery = { delivery: { timestamp: now(), recipients: ["to@there.example"], smtpResponse: "250 ok" } };

async function scene(sns: FakeSns, api: TestApi, more: object = {}) {
  const alpha = await tenant(api, "alpha", sesProvider(sns.topic, more));
  const addresses = ["to@there.example", "two@there.example"];
  return { alpha, sent: await addSent(api, alpha, { addresses, providerMessageId: "0100-ses" }) };
}

Deno.test("a report of SES that SNS signed is stored for each recipient, in either version, by either path", async () => {
  const sns = await FakeSns.open();
  await using api = await testApi({ io: { fetch: sns.fetch } });
  const { alpha, sent } = await scene(sns, api);
  const bounced = {
    bounce: {
      bounceType: "Permanent",
      bounceSubType: "NoEmail",
      timestamp: now(),
      bouncedRecipients: [{ emailAddress: "Two <TWO@there.example>", diagnosticCode: "550 no" }],
    },
  };
  const first = sns.notification(published("Delivery", sent, delivery), "1", {
    fields: { Subject: "a subject" },
  });
  const second = sns.notification(published("Bounce", sent, bounced));
  assert.equal((await post(api, plain, first.body, first.headers)).status, 200);
  assert.equal((await post(api, plain, first.body, first.headers)).status, 200);
  assert.equal((await post(api, alpha.webhookPath, second.body, second.headers)).status, 200);
  const state = await stateOf(api, sent.message);
  assert.deepEqual([state.recipients, state.events], [["delivered", "bounced"], ["delivered", "bounced"]]);
  assert.deepEqual(sns.asked, [sns.certificateUrl], "the certificate is fetched once");
  const old = { notificationType: "Complaint", mail: { messageId: "0100-ses" } };
  const complaint = { timestamp: now(), complainedRecipients: [{ emailAddress: "to@there.example" }] };
  const third = sns.notification({ ...old, complaint });
  assert.equal((await post(api, plain, third.body, third.headers)).status, 200);
  assert.deepEqual((await stateOf(api, sent.message)).recipients, ["complained", "bounced"]);
  const text = sns.notification("Successfully validated SNS topic for Amazon SES event publishing.");
  assert.equal((await post(api, alpha.webhookPath, text.body, text.headers)).status, 200);
  assert.deepEqual(api.faults, []);
});

Deno.test("what SNS did not sign for this topic now is refused, and no other host is asked for a certificate", async () => {
  const sns = await FakeSns.open();
  await using api = await testApi({ io: { fetch: sns.fetch } });
  const { alpha, sent } = await scene(sns, api);
  const report = published("Delivery", sent, delivery);
  const certificates = [
    "https://sns.eu-west-1.amazonaws.com@evil.example/SimpleNotificationService-a.pem",
    `https://sns.eu-west-1.amazonaws.com.evil.example/SimpleNotificationService-${"a1".repeat(16)}.pem`,
    `https://sns.us-east-1.amazonaws.com/SimpleNotificationService-${"a1".repeat(16)}.pem`,
    `http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-${"a1".repeat(16)}.pem`,
    `https://sns.eu-west-1.amazonaws.com:8443/SimpleNotificationService-${"a1".repeat(16)}.pem`,
    "https://sns.eu-west-1.amazonaws.com/other.pem",
    "https://169.254.169.254/latest/meta-data",
    `https://sns.eu-west-1.amazonaws.com\\@evil.example/SimpleNotificationService-${"a1".repeat(16)}.pem`,
  ];
  const other = "arn:aws:sns:eu-west-1:123456789012:other";
  const bad = [
    ...certificates.map((SigningCertURL) => sns.notification(report, "2", { fields: { SigningCertURL } })),
    sns.notification(report, "2", { forged: { Message: JSON.stringify(report) + " " } }),
    sns.notification(report, "2", { forged: { SignatureVersion: "1" } }),
    sns.notification(report, "2", { forged: { SignatureVersion: "3" } }),
    sns.notification(report, "2", { forged: { Signature: "AAAA" } }),
    sns.notification(report, "2", { fields: { TopicArn: other } }),
    sns.notification(report, "2", {
      fields: { Timestamp: new Date(Date.now() - 2 * 3_600_000).toISOString() },
    }),
  ];
  for (const { body, headers } of bad) {
    for (const path of [plain, alpha.webhookPath]) {
      assert.equal((await post(api, path, body, headers)).status, 401, body);
    }
  }
  for (const headers of [{ "x-amz-sns-rawdelivery": "true" }, { "x-amz-sns-message-type": "x" }]) {
    const { body, headers: all } = sns.notification(report, "2", { headers });
    assert.equal((await post(api, plain, body, all)).status, 400);
  }
  assert.deepEqual([...new Set(sns.asked)], [sns.certificateUrl]);
  assert.deepEqual((await stateOf(api, sent.message)).events, []);
});

Deno.test("a certificate of another name or that has ended proves nothing, nor SHA-1 where it is not wanted", async () => {
  for (const [name, days] of [["CN=evil.example", 5], ["CN=sns.amazonaws.com", -1]] as const) {
    const sns = await FakeSns.open(name, days);
    await using api = await testApi({ io: { fetch: sns.fetch } });
    const { sent } = await scene(sns, api);
    const { body, headers } = sns.notification(published("Delivery", sent, delivery));
    assert.equal((await post(api, plain, body, headers)).status, 401, name);
  }
  const sns = await FakeSns.open();
  await using api = await testApi({ io: { fetch: sns.fetch } });
  const { sent } = await scene(sns, api, { "sns_signature": "2" });
  const old = sns.notification(published("Delivery", sent, delivery), "1");
  assert.equal((await post(api, plain, old.body, old.headers)).status, 401);
  const fresh = sns.notification(published("Delivery", sent, delivery), "2");
  assert.equal((await post(api, plain, fresh.body, fresh.headers)).status, 200);
});

Deno.test("a subscription is confirmed for a topic that a provider names, at SNS alone", async () => {
  const sns = await FakeSns.open();
  await using api = await testApi({ io: { fetch: sns.fetch } });
  const { alpha } = await scene(sns, api);
  const confirms = () => sns.asked.filter((url) => url !== sns.certificateUrl).length;
  for (const path of [plain, alpha.webhookPath]) {
    const { body, headers } = sns.confirmation();
    assert.equal((await post(api, path, body, headers)).status, 200);
  }
  assert.equal(confirms(), 2);
  const urls = [
    "https://evil.example/?Action=ConfirmSubscription",
    `https://sns.eu-west-1.amazonaws.com/?Action=DeleteTopic&TopicArn=${sns.topic}&Token=t`,
    "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:eu-west-1:1:x&Token=t",
    `http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=${sns.topic}&Token=t`,
  ];
  for (const SubscribeURL of urls) {
    const { body, headers } = sns.confirmation({ fields: { SubscribeURL } });
    await post(api, alpha.webhookPath, body, headers);
  }
  const forged = sns.confirmation({ forged: { Token: "another" } });
  assert.equal((await post(api, plain, forged.body, forged.headers)).status, 401);
  const stranger = sns.confirmation({ fields: { TopicArn: "arn:aws:sns:eu-west-1:123456789012:other" } });
  assert.equal((await post(api, plain, stranger.body, stranger.headers)).status, 401);
  assert.equal(confirms(), 2, "nothing else was fetched");
  sns.confirmStatus = 500;
  const { body, headers } = sns.confirmation();
  const answer = await post(api, plain, body, headers);
  assert.deepEqual([answer.status, answer.body.code], [503, "subscription_unconfirmed"], "SNS comes again");
});

Deno.test("nobody crowds out whose calls a report is of by naming the same topic", async () => {
  const sns = await FakeSns.open();
  await using api = await testApi({ io: { fetch: sns.fetch } });
  const crowd = await tenant(api, "crowd", sesProvider(sns.topic));
  for (let n = 0; n < 24; n++) await addProvider(api, crowd, sesProvider(sns.topic));
  const { sent } = await scene(sns, api);
  const report = sns.notification(published("Delivery", sent, delivery));
  assert.equal((await post(api, plain, report.body, report.headers)).status, 200);
  assert.deepEqual((await stateOf(api, sent.message)).recipients, ["delivered", "accepted"]);
});
