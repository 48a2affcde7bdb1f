import { z } from "zod";
import { type EspEvent, type EspEventKind, eventData, ownIds } from "./event.ts";
import { confirmUrlOf, isSignedBySns, readSns } from "./sns_message.ts";
import { type EspWebhook, mostEvents } from "./webhook.ts";
import { storable } from "../storable.ts";

const address = z.string().max(320);
const named = z.array(z.object({ emailAddress: address, diagnosticCode: z.string().optional() })).max(
  mostEvents,
);
const notification = z.object({
  eventType: z.string().max(100).optional(),
  notificationType: z.string().max(100).optional(),
  mail: z.object({
    messageId: z.string().min(1).max(255),
    timestamp: z.string().optional(),
    destination: z.array(address).max(mostEvents).optional(),
    tags: z.record(z.string(), z.array(z.string())).optional(),
  }),
  bounce: z.object({
    bounceType: z.string(),
    bounceSubType: z.string(),
    bouncedRecipients: named,
    timestamp: z.string().optional(),
  }).optional(),
  complaint: z.object({
    complaintSubType: z.string().nullish(),
    complaintFeedbackType: z.string().nullish(),
    complainedRecipients: named,
    timestamp: z.string().optional(),
  }).optional(),
  delivery: z.object({
    recipients: z.array(address).max(mostEvents),
    smtpResponse: z.string().optional(),
    timestamp: z.string().optional(),
  }).optional(),
  deliveryDelay: z.object({
    delayType: z.string().optional(),
    delayedRecipients: named,
    timestamp: z.string().optional(),
  }).optional(),
  reject: z.object({ reason: z.string().optional() }).optional(),
  failure: z.object({ errorMessage: z.string().optional() }).optional(),
  click: z.object({ link: z.string().optional(), timestamp: z.string().optional() }).optional(),
  open: z.object({ timestamp: z.string().optional() }).optional(),
  subscription: z.object({
    timestamp: z.string().optional(),
    newTopicPreferences: z.object({ unsubscribeAll: z.boolean().optional() }).optional(),
  }).optional(),
});
type Told = z.output<typeof notification>;

/** Amazon SES by way of SNS: event publishing and the older notifications of identities, signed by SNS. */
export const sesWebhook: EspWebhook = {
  read: (request) => {
    const message = readSns(request);
    if (message === undefined) return undefined;
    const confirmUrl = confirmUrlOf(message);
    return {
      events: message.Type === "Notification" ? eventsOf(message.Message, message.MessageId) : [],
      topic: message.TopicArn,
      ...(confirmUrl === undefined ? {} : { confirmUrl }),
    };
  },
  verify: async (request, settings, io) => {
    const { topic_arn: topic, sns_signature: lowestVersion = "1" } = settings as {
      readonly topic_arn?: string;
      readonly sns_signature?: "1" | "2";
    };
    const message = readSns(request);
    if (topic === undefined || message === undefined) return false;
    return await isSignedBySns(message, { topic, lowestVersion }, io);
  },
};

/** The first message after subscribing is a text: whatever is no report of SES is none. */
function eventsOf(text: string, id: string): readonly EspEvent[] {
  let told: z.ZodSafeParseResult<Told>;
  try {
    told = notification.safeParse(JSON.parse(text));
  } catch (error) {
    if (error instanceof SyntaxError) return [];
    throw error;
  }
  if (!told.success) return [];
  const found = findingOf(told.data);
  const occurredAt = new Date(found?.at ?? told.data.mail.timestamp ?? "");
  if (found === undefined || Number.isNaN(occurredAt.getTime())) return [];
  const { mail } = told.data;
  const common = {
    kind: found.kind,
    occurredAt,
    ...ownIds(mail.tags?.["message-id"]?.[0], mail.tags?.["call-id"]?.[0]),
    providerMessageId: storable(mail.messageId, 255),
  };
  if (found.recipients.length === 0) {
    return [{ ...common, externalId: id, data: eventData(found.data) }];
  }
  return found.recipients.map(({ emailAddress, diagnosticCode }, index) => ({
    ...common,
    externalId: `${id} ${index}`,
    recipient: storable(addressOf(emailAddress), 320),
    data: eventData({ ...found.data, ...(diagnosticCode && { reason: diagnosticCode }) }),
  }));
}

interface Finding {
  readonly kind: EspEventKind;
  readonly at: string | undefined;
  readonly recipients: readonly {
    readonly emailAddress: string;
    readonly diagnosticCode?: string | undefined;
  }[];
  readonly data: Readonly<Record<string, unknown>>;
}

function findingOf(told: Told): Finding | undefined {
  const { mail, bounce, complaint, delivery, deliveryDelay } = told;
  const everybody = (mail.destination ?? []).map((emailAddress) => ({ emailAddress }));
  const nobody: Finding["recipients"] = [];
  const event = told.eventType ?? told.notificationType;
  const finding = (
    kind: EspEventKind,
    at: string | undefined,
    recipients: Finding["recipients"],
    data = {},
  ) => ({
    kind,
    at,
    recipients,
    data: { event, ...data },
  });
  switch (event) {
    case "Send":
      return finding("accepted", mail.timestamp, everybody);
    case "Delivery":
      return delivery && finding(
        "delivered",
        delivery.timestamp,
        delivery.recipients.map((emailAddress) => ({ emailAddress })),
        { reason: delivery.smtpResponse },
      );
    case "DeliveryDelay":
      return deliveryDelay && finding("deferred", deliveryDelay.timestamp, deliveryDelay.delayedRecipients, {
        cause: deliveryDelay.delayType,
      });
    case "Bounce":
      return bounce &&
        finding(
          isSuppressed(bounce.bounceSubType) ? "suppressed" : "bounced",
          bounce.timestamp,
          bounce.bouncedRecipients,
          {
            cause: `${bounce.bounceType} ${bounce.bounceSubType}`,
            permanent: bounce.bounceType === "Permanent",
          },
        );
    case "Complaint":
      if (complaint === undefined || complaint.complaintFeedbackType === "not-spam") return undefined;
      return finding(
        isSuppressed(complaint.complaintSubType ?? "") ? "suppressed" : "complained",
        complaint.timestamp,
        complaint.complainedRecipients,
        { cause: complaint.complaintFeedbackType ?? complaint.complaintSubType },
      );
    case "Reject":
      return finding("dropped", mail.timestamp, everybody, { reason: told.reject?.reason });
    case "Rendering Failure":
      return finding("dropped", mail.timestamp, everybody, { reason: told.failure?.errorMessage });
    // SES does not say who of the recipients it was.
    case "Open":
      return finding("opened", told.open?.timestamp, nobody);
    case "Click":
      return finding("clicked", told.click?.timestamp, nobody, { url: told.click?.link });
    case "Subscription": {
      const isOut = told.subscription?.newTopicPreferences?.unsubscribeAll === true;
      return isOut ? finding("unsubscribed", told.subscription?.timestamp, everybody) : undefined;
    }
    default:
      return undefined;
  }
}

function isSuppressed(subType: string): boolean {
  return subType === "Suppressed" || subType === "OnAccountSuppressionList";
}

/** Bounces may name a recipient as a header field does. */
function addressOf(text: string): string {
  return /<([^<>]+)>\s*$/.exec(text)?.[1] ?? text.trim();
}
