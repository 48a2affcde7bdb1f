import assert from "node:assert/strict";
import fc from "fast-check";
import { espKinds } from "./catalog.ts";
import { mailgunWebhook } from "./mailgun_webhook.ts";
import { sendgridWebhook } from "./sendgrid_webhook.ts";
import { sesWebhook } from "./ses_webhook.ts";
import { isRecent, momentOf } from "./webhook.ts";

function bytesOf(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}

const ids = {
  "message-id": "01900000-0000-7000-8000-000000000001",
  "call-id": "01900000-0000-7000-8000-000000000002",
};
const own = { messageId: ids["message-id"], callId: ids["call-id"] };

function sendgridKinds(...events: readonly object[]) {
  const list = events.map((event, index) => ({
    timestamp: 1_700_000_000,
    "sg_event_id": `e${index}`,
    ...event,
  }));
  return sendgridWebhook.read({ headers: new Headers(), bytes: bytesOf(JSON.stringify(list)) })?.events;
}

Deno.test("sendgridWebhook.read() knows each event by its own name, and the ids before the first dot", () => {
  const events = sendgridKinds(
    { event: "processed", email: "a@b.example", "sg_message_id": "abc.recvd-1.2", ...ids },
    { event: "bounce", type: "bounce", status: "5.1.1", reason: "550 no" },
    { event: "bounce", type: "bounce", status: "4.2.2" },
    { event: "bounce", type: "blocked" },
    { event: "dropped", reason: "Bounced Address" },
    { event: "dropped", reason: "Invalid" },
    { event: "spamreport" },
    { event: "group_unsubscribe" },
    { event: "account_status_change" },
    { event: "delivered", timestamp: "never" },
  ) ?? [];
  assert.deepEqual(events.map(({ kind, data }) => [kind, data["permanent"]]), [
    ["accepted", undefined],
    ["bounced", true],
    ["bounced", false],
    ["bounced", false],
    ["suppressed", undefined],
    ["dropped", undefined],
    ["complained", undefined],
    ["unsubscribed", undefined],
  ]);
  const { data: _, ...first } = events[0] ?? { data: {} };
  assert.deepEqual(first, {
    kind: "accepted",
    externalId: "e0",
    occurredAt: new Date(1_700_000_000_000),
    recipient: "a@b.example",
    providerMessageId: "abc",
    ...own,
  });
});

function mailgunEvent(event: object, changes: object = {}) {
  const signature = { timestamp: "1700000000", token: "a".repeat(50), signature: "0".repeat(64), ...changes };
  const body = { signature, "event-data": { id: "x", timestamp: 1_700_000_000.5, ...event } };
  return mailgunWebhook.read({ headers: new Headers(), bytes: bytesOf(JSON.stringify(body)) });
}

Deno.test("mailgunWebhook.read() tells a bounce from a delay and from a suppression, and binds the token", () => {
  const kindOf = (event: object) => mailgunEvent(event)?.events[0]?.kind;
  assert.equal(kindOf({ event: "failed", severity: "temporary" }), "deferred");
  assert.equal(kindOf({ event: "failed", severity: "permanent", reason: "bounce" }), "bounced");
  assert.equal(
    kindOf({ event: "failed", severity: "permanent", reason: "suppress-complaint" }),
    "suppressed",
  );
  assert.equal(kindOf({ event: "rejected" }), "dropped");
  assert.equal(kindOf({ event: "list_member_uploaded" }), undefined);
  const report = mailgunEvent({
    event: "delivered",
    "user-variables": ids,
    message: { headers: { "message-id": "<m@x>" } },
  });
  assert.equal(report?.onceToken, "a".repeat(50));
  const [event] = report?.events ?? [];
  assert.deepEqual([event?.externalId, event?.providerMessageId], ["x 1700000000.5", "m@x"]);
  assert.deepEqual([event?.messageId, event?.callId], [own.messageId, own.callId]);
  for (const wrong of [{ token: "short" }, { timestamp: "1e9" }, { signature: "0".repeat(63) }]) {
    assert.equal(mailgunEvent({ event: "delivered" }, wrong), undefined);
  }
});

Deno.test("webhooks read nothing from bytes that are no report, and never throw", () => {
  const kinds = espKinds.flatMap(({ name, webhook }) => webhook === undefined ? [] : [{ name, webhook }]);
  assert.deepEqual(kinds.map(({ name }) => name), ["sendgrid", "ses", "mailgun"]);
  const headers = new Headers({ "x-amz-sns-message-type": "Notification" });
  const text = fc.oneof(fc.string(), fc.jsonValue().map((value) => JSON.stringify(value)));
  fc.assert(
    fc.property(text, fc.uint8Array({ maxLength: 200 }), (given, noise) => {
      for (const { webhook } of kinds) {
        webhook.read({ headers, bytes: bytesOf(given) });
        webhook.read({ headers, bytes: Uint8Array.from(noise) });
      }
    }),
    { seed: 20_261_123 },
  );
  assert.equal(sesWebhook.read({ headers, bytes: bytesOf("{}") }), undefined);
  assert.equal(sendgridWebhook.read({ headers, bytes: bytesOf("{}") }), undefined);
});

Deno.test("webhooks.verify() believes nobody while a provider has no key", async () => {
  const io = { now: () => new Date(), snsKey: () => Promise.resolve(undefined) };
  for (const { webhook } of espKinds) {
    if (webhook === undefined) continue;
    const request = { headers: new Headers(), bytes: bytesOf("[]") };
    assert.equal(await webhook.verify(request, {}, io), false);
  }
});

Deno.test("isRecent() and momentOf() take moments that a clock could show, and no others", () => {
  const now = new Date(1_700_000_000_000);
  assert.equal(isRecent(new Date(now.getTime() - 1000), now, 1000), true);
  assert.equal(isRecent(new Date(now.getTime() - 1001), now, 1000), false);
  assert.equal(isRecent(new Date(now.getTime() + 16 * 60_000), now, 1000), false);
  assert.equal(isRecent(new Date(Number.NaN), now, 1000), false);
  assert.deepEqual(momentOf("1700000000"), now);
  for (const wrong of ["1e9", "-1", "", null, Number.NaN, Infinity, {}, "9".repeat(13)]) {
    assert.equal(momentOf(wrong), undefined);
  }
});
