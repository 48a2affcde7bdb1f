import { Buffer } from "node:buffer";
import { createPublicKey, createVerify, type KeyObject } from "node:crypto";
import { z } from "zod";
import { type EspEvent, type EspEventKind, eventData, ownIds } from "./event.ts";
import { type EspWebhook, isRecent, jsonOf, momentOf, mostEvents, type WebhookRequest } from "./webhook.ts";
import { storable } from "../storable.ts";

/** What SendGrid's reports are checked with. */
export const sendgridWebhookSettings = z.strictObject({
  public_key: z.string().max(1000).refine((text) => publicKey(text) !== undefined, {
    message: "It is not the verification key of the event webhook: base64 of a P-256 public key",
  }),
});

/** Posts that fail are repeated for a day. */
const longestMs = 26 * 3_600_000;
const signatureHeader = "x-twilio-email-event-webhook-signature";
const timestampHeader = "x-twilio-email-event-webhook-timestamp";

const reported = z.object({
  event: z.string().max(100),
  email: z.string().max(320).optional(),
  timestamp: z.union([z.number(), z.string()]),
  sg_event_id: z.string().min(1).max(255),
  sg_message_id: z.string().max(500).optional(),
  type: z.string().optional(),
  reason: z.string().optional(),
  status: z.string().optional(),
  response: z.string().optional(),
  attempt: z.union([z.string(), z.number()]).optional(),
  bounce_classification: z.string().optional(),
  url: z.string().optional(),
  "message-id": z.unknown().optional(),
  "call-id": z.unknown().optional(),
});

/** SendGrid's Event Webhook: a list of events, signed by ECDSA over the time and the bytes. */
export const sendgridWebhook: EspWebhook = {
  read: (request) => {
    const list = jsonOf(request);
    if (!Array.isArray(list) || list.length > mostEvents) return undefined;
    return { events: list.flatMap((item) => eventOf(item) ?? []) };
  },
  verify: (request, settings, io) => {
    const { webhook } = settings as { webhook?: z.output<typeof sendgridWebhookSettings> };
    const moment = momentOf(request.headers.get(timestampHeader));
    const isFit = webhook !== undefined && moment !== undefined && isRecent(moment, io.now(), longestMs);
    return Promise.resolve(isFit && isSigned(request, webhook.public_key));
  },
};

function isSigned({ headers, bytes }: WebhookRequest, key: string): boolean {
  const signature = headers.get(signatureHeader) ?? "";
  const parsed = publicKey(key);
  if (parsed === undefined || !/^[A-Za-z0-9+/]{1,200}={0,2}$/.test(signature)) return false;
  const verifier = createVerify("SHA256").update(headers.get(timestampHeader) ?? "").update(bytes);
  return verifier.verify(parsed, signature, "base64");
}

function publicKey(text: string): KeyObject | undefined {
  const base64 = text.replace(/-----(BEGIN|END) PUBLIC KEY-----|\s/g, "");
  try {
    const key = createPublicKey({ key: Buffer.from(base64, "base64"), format: "der", type: "spki" });
    return key.asymmetricKeyDetails?.namedCurve === "prime256v1" ? key : undefined;
  } catch {
    return undefined; // whatever the text is, it is no key
  }
}

function eventOf(item: unknown): EspEvent | undefined {
  const found = reported.safeParse(item);
  if (!found.success) return undefined;
  const event = found.data;
  const kind = kindOf(event);
  const occurredAt = momentOf(event.timestamp);
  if (kind === undefined || occurredAt === undefined) return undefined;
  // Behind the first dot follows what SendGrid's own machines append.
  const id = event.sg_message_id?.split(".")[0];
  return {
    kind,
    externalId: storable(event.sg_event_id, 255),
    occurredAt,
    ...(event.email !== undefined && { recipient: storable(event.email, 320) }),
    ...ownIds(event["message-id"], event["call-id"]),
    ...(id ? { providerMessageId: storable(id, 255) } : {}),
    data: eventData({
      event: event.event,
      reason: event.reason ?? event.response,
      code: event.status,
      classification: event.bounce_classification,
      attempt: event.attempt,
      url: event.url,
      ...(kind === "bounced" && { permanent: isHard(event) }),
    }),
  };
}

function kindOf({ event, reason = "" }: z.output<typeof reported>): EspEventKind | undefined {
  if (event === "dropped") {
    return /bounced address|unsubscribed address|spam reporting address/i.test(reason)
      ? "suppressed"
      : "dropped";
  }
  return kinds[event];
}

const kinds: Readonly<Record<string, EspEventKind>> = {
  processed: "accepted",
  deferred: "deferred",
  delivered: "delivered",
  bounce: "bounced",
  blocked: "bounced",
  spamreport: "complained",
  open: "opened",
  click: "clicked",
  unsubscribe: "unsubscribed",
  "group_unsubscribe": "unsubscribed",
  "group_resubscribe": "resubscribed",
};

function isHard({ event, type, status = "" }: z.output<typeof reported>): boolean {
  return event === "bounce" && type !== "blocked" && !status.startsWith("4");
}
