import { createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { type EspEvent, type EspEventKind, eventData, ownIds } from "./event.ts";
import { type EspWebhook, isRecent, jsonOf, momentOf } from "./webhook.ts";
import { storable } from "../storable.ts";

/** What Mailgun's reports are checked with. */
export const mailgunWebhookSettings = z.strictObject({
  signing_key: z.string().regex(/^[\x21-\x7e]{1,512}$/, "It is not an HTTP webhook signing key"),
});

/** Posts that fail are repeated for eight hours. */
const longestMs = 12 * 3_600_000;

const hexDigest = z.string().regex(/^[0-9a-f]{64}$/);
const post = z.object({
  signature: z.object({
    timestamp: z.union([z.string(), z.number().int()]).transform(String).pipe(z.string().regex(/^\d{1,12}$/)),
    token: z.string().regex(/^[\x21-\x7e]{50}$/),
    signature: hexDigest,
    // Of the account that this one belongs to, when it belongs to one.
    "parent-signature": hexDigest.optional(),
  }),
  "event-data": z.object({
    id: z.string().min(1).max(200),
    event: z.string().max(100),
    timestamp: z.number(),
    recipient: z.string().max(320).optional(),
    severity: z.string().optional(),
    reason: z.string().optional(),
    url: z.string().optional(),
    "user-variables": z.record(z.string(), z.unknown()).optional(),
    message: z.object({
      headers: z.object({ "message-id": z.string().max(998).optional() }).optional(),
    }).optional(),
    "delivery-status": z.object({
      code: z.union([z.number(), z.string()]).nullish(),
      "enhanced-code": z.string().nullish(),
      message: z.string().nullish(),
      description: z.string().nullish(),
      "attempt-no": z.number().nullish(),
    }).nullish(),
  }),
});

/** Mailgun's webhooks: one event each. The signature covers a time and a token alone, and not the event. */
export const mailgunWebhook: EspWebhook = {
  read: (request) => {
    const found = post.safeParse(jsonOf(request));
    if (!found.success) return undefined;
    const event = eventOf(found.data["event-data"]);
    return { events: event === undefined ? [] : [event], onceToken: found.data.signature.token };
  },
  verify: (request, settings, io) => {
    const { webhook } = settings as { webhook?: z.output<typeof mailgunWebhookSettings> };
    const found = post.safeParse(jsonOf(request));
    if (webhook === undefined || !found.success) return Promise.resolve(false);
    const { timestamp, token, signature, "parent-signature": parents = signature } = found.data.signature;
    const moment = momentOf(timestamp);
    if (moment === undefined || !isRecent(moment, io.now(), longestMs)) return Promise.resolve(false);
    const expected = createHmac("sha256", webhook.signing_key).update(timestamp + token).digest();
    const isSame = (given: string) => timingSafeEqual(expected, Uint8Array.fromHex(given));
    return Promise.resolve(isSame(signature) || isSame(parents));
  },
};

type Reported = z.output<typeof post>["event-data"];

function eventOf(event: Reported): EspEvent | undefined {
  const kind = kindOf(event);
  const occurredAt = momentOf(event.timestamp);
  if (kind === undefined || occurredAt === undefined) return undefined;
  const own = event["user-variables"];
  const id = event.message?.headers?.["message-id"]?.replace(/^<|>$/g, "");
  const status = event["delivery-status"] ?? {};
  return {
    kind,
    // The id alone is unique within a day.
    externalId: storable(`${event.id} ${event.timestamp}`, 255),
    occurredAt,
    ...(event.recipient !== undefined && { recipient: storable(event.recipient, 320) }),
    ...ownIds(own?.["message-id"], own?.["call-id"]),
    ...(id ? { providerMessageId: storable(id, 255) } : {}),
    data: eventData({
      event: event.event,
      reason: status.message || status.description || event.reason,
      code: status["enhanced-code"] || status.code,
      cause: event.reason,
      attempt: status["attempt-no"],
      url: event.url,
      ...(kind === "bounced" && { permanent: event.reason !== "old" }),
    }),
  };
}

function kindOf({ event, severity, reason = "" }: Reported): EspEventKind | undefined {
  if (event !== "failed") return kinds[event];
  if (severity === "temporary") return "deferred";
  return reason.startsWith("suppress-") ? "suppressed" : "bounced";
}

const kinds: Readonly<Record<string, EspEventKind>> = {
  accepted: "accepted",
  delivered: "delivered",
  rejected: "dropped",
  complained: "complained",
  opened: "opened",
  clicked: "clicked",
  unsubscribed: "unsubscribed",
};
