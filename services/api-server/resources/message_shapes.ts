import { messageStatuses } from "../../../lib/messages/message.ts";
import { z } from "@hono/zod-openapi";
import type {
  CallEntry,
  EventEntry,
  MessageDetail,
  RecipientEntry,
} from "../../../lib/messages/history_table.ts";
import type { MessageEntry, MessageFilter } from "../../../lib/messages/listing_table.ts";
import { dateOf, idOf, moment, timeOf } from "../schemas.ts";

/** Where a message is on its way. */
export const messageStatus = z.enum(messageStatuses, {
  error: `status must be one of: ${messageStatuses.join(", ")}`,
});

const failures = ["refused", "exhausted", "expired", "unknown", "crashed", "cancelled", "restored"] as const;

/** Why a message is dead. */
export const failureCode = z.enum(failures, { error: `failure_code must be one of: ${failures.join(", ")}` });

const address = z.string().trim().min(1).max(320);
const anyCase = "Upper and lower case are the same.";

/** What messages are looked for by; all that is given has to hold. */
export const messageFilter = {
  sender: address.optional().meta({
    description: `The whole envelope sender, \`<>\` for the null sender. ${anyCase}`,
  }),
  recipient: address.optional().meta({ description: `One whole envelope recipient. ${anyCase}` }),
  subject: z.string().min(1).max(998).optional().meta({
    description:
      `The whole subject, or a part of it: parts are looked for among the 300 newest messages of ` +
      `the time asked for. ${anyCase}`,
  }),
  "message_id": z.string().trim().min(1).max(998).optional().meta({
    description: "The Message-ID field as the client gave it, with or without its brackets",
  }),
  "provider_id": idOf("provider").optional().meta({ description: "Who took it, or was tried last" }),
  since: moment.optional().meta({ description: "Accepted at this moment or later" }),
  until: moment.optional().meta({ description: "Accepted before this moment" }),
};
const filterObject = z.object(messageFilter);

/** The filter as the table takes it, but for the status. */
export function filterOf(query: z.output<typeof filterObject>): MessageFilter {
  return {
    sender: query.sender === "<>" ? "" : query.sender,
    recipient: query.recipient,
    subject: query.subject,
    rfcMessageId: query.message_id,
    provider: query.provider_id,
    since: dateOf(query.since),
    until: dateOf(query.until),
  };
}

/** A message as it is listed. */
export const messageShape = z.object({
  id: z.string(),
  "user_id": z.string().meta({ description: "The account that handed it in" }),
  sender: z.string().meta({ description: "Of the envelope; empty for the null sender" }),
  "header_from": z.string().nullable(),
  subject: z.string().nullable(),
  "message_id": z.string().nullable().meta({ description: "The Message-ID field as the client gave it" }),
  recipients: z.array(z.string()).meta({ description: "The first five of the envelope" }),
  "recipient_count": z.number().int(),
  size: z.number().int().meta({ description: "In bytes" }),
  status: z.string(),
  "failure_code": z.string().nullable(),
  "provider_id": z.string().nullable(),
  attempts: z.number().int(),
  "next_attempt_at": z.string().nullable(),
  "enqueued_at": z.string(),
  "processed_at": z.string().nullable(),
  "body_removed_at": z.string().nullable(),
}).openapi("Message");

/** A page of messages. */
export const messageList = z.object({
  items: z.array(messageShape),
  "next_cursor": z.string().nullable().meta({
    description:
      "Where the list goes on; null at its end. A page may hold fewer than asked for and still go on",
  }),
}).openapi("MessageList");

/** A message as it is answered. */
export function messageOf(entry: MessageEntry): z.output<typeof messageShape> {
  return {
    id: entry.id,
    "user_id": entry.userId,
    sender: entry.sender,
    "header_from": entry.headerFrom,
    subject: entry.subject,
    "message_id": entry.rfcMessageId,
    recipients: [...entry.recipients],
    "recipient_count": entry.recipientCount,
    size: entry.size,
    status: entry.status,
    "failure_code": entry.failureCode,
    "provider_id": entry.providerId,
    attempts: entry.attempts,
    "next_attempt_at": timeOf(entry.nextAttemptAt),
    "enqueued_at": timeOf(entry.enqueuedAt),
    "processed_at": timeOf(entry.processedAt),
    "body_removed_at": timeOf(entry.bodyRemovedAt),
  };
}

/** One recipient and what became of it. */
export const recipientShape = z.object({
  position: z.number().int(),
  address: z.string(),
  status: z.string(),
  "failure_code": z.string().nullable(),
  attempts: z.number().int(),
  "next_attempt_at": z.string().nullable(),
  "waiting_for": z.string().nullable().meta({ description: "What it was put off for without an attempt" }),
  "fault_code": z.string().nullable().meta({
    description:
      "Why it was not simply accepted; `suppressed` with the status `suppressed`: on the group's own list",
  }),
  "fault_detail": z.string().nullable(),
  "call_id": z.string().nullable().meta({ description: "The last attempt for it" }),
  "updated_at": z.string().nullable(),
}).openapi("Recipient");

/** One call to a service. */
export const attemptShape = z.object({
  id: z.string(),
  "provider_id": z.string().nullable(),
  provider: z.string().nullable(),
  "provider_message_id": z.string().nullable(),
  recipients: z.array(z.number().int()).meta({ description: "Positions of those it was for" }),
  status: z.string(),
  "attempt_number": z.number().int(),
  "response_code": z.number().int().nullable(),
  "response_body": z.string().nullable(),
  "esp_code": z.string().nullable(),
  "request_id": z.string().nullable(),
  "last_error": z.string().nullable(),
  "duration_ms": z.number().int().nullable(),
  routing: z.object({ "rule_id": z.string(), position: z.number().int() }).nullable().meta({
    description: "The rule that named this provider, and its place in the route; null where no rule did",
  }),
  "created_at": z.string(),
  "updated_at": z.string().nullable(),
}).openapi("Attempt");

/** What a service reported. */
export const eventShape = z.object({
  id: z.string(),
  kind: z.string(),
  recipient: z.number().int().nullable().meta({ description: "The position of whom it is about" }),
  "call_id": z.string().nullable(),
  "provider_id": z.string().nullable(),
  "occurred_at": z.string(),
  "received_at": z.string(),
}).openapi("Event");

/** A message with everything that is known of it. */
export const messageDetailShape = messageShape.omit({ recipients: true }).extend({
  "smtp_utf8": z.boolean(),
  "eight_bit": z.boolean(),
  "dsn_return": z.string().nullable(),
  "envelope_id": z.string().nullable(),
  "client_address": z.string().nullable(),
  helo: z.string().nullable(),
  tls: z.string().nullable(),
  "correlation_id": z.string(),
  recipients: z.array(recipientShape),
  "attempt_log": z.array(attemptShape).meta({ description: "The newest 200 calls, newest first" }),
  events: z.array(eventShape).meta({ description: "The newest 500 reports, newest first" }),
}).openapi("MessageDetail");

/** Everything known of a message as it is answered. */
export function detailOf(
  entry: MessageDetail,
  recipients: readonly RecipientEntry[],
  calls: readonly CallEntry[],
  events: readonly EventEntry[],
): z.output<typeof messageDetailShape> {
  return {
    ...messageOf(entry),
    "smtp_utf8": entry.smtpUtf8,
    "eight_bit": entry.eightBit,
    "dsn_return": entry.dsnReturn,
    "envelope_id": entry.envelopeId,
    "client_address": entry.clientAddress,
    helo: entry.helo,
    tls: entry.tls,
    "correlation_id": entry.correlationId,
    recipients: recipients.map(recipientOf),
    "attempt_log": calls.map(attemptOf),
    events: events.map(eventOf),
  };
}

function recipientOf(entry: RecipientEntry): z.output<typeof recipientShape> {
  const isPending = entry.status === "pending";
  return {
    position: entry.position,
    address: entry.address,
    status: entry.status,
    "failure_code": entry.failureCode,
    attempts: entry.attempts,
    "next_attempt_at": isPending ? timeOf(entry.nextAttemptAt) : null,
    "waiting_for": isPending ? entry.waitCause : null,
    "fault_code": entry.faultCode,
    "fault_detail": entry.faultDetail,
    "call_id": entry.callId,
    "updated_at": timeOf(entry.updatedAt),
  };
}

function attemptOf(entry: CallEntry): z.output<typeof attemptShape> {
  return {
    id: entry.id,
    "provider_id": entry.providerId,
    provider: entry.provider,
    "provider_message_id": entry.providerMessageId,
    recipients: [...entry.recipients],
    status: entry.status,
    "attempt_number": entry.attemptNumber,
    "response_code": entry.responseCode,
    "response_body": entry.responseBody,
    "esp_code": entry.espCode,
    "request_id": entry.requestId,
    "last_error": entry.lastError,
    "duration_ms": entry.durationMs,
    routing: entry.routing,
    "created_at": timeOf(entry.createdAt),
    "updated_at": timeOf(entry.updatedAt),
  };
}

function eventOf(entry: EventEntry): z.output<typeof eventShape> {
  return {
    id: entry.id,
    kind: entry.kind,
    recipient: entry.position,
    "call_id": entry.callId,
    "provider_id": entry.providerId,
    "occurred_at": timeOf(entry.occurredAt),
    "received_at": timeOf(entry.receivedAt),
  };
}
