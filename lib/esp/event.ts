import { storable } from "../storable.ts";

/**
 * What an email service reports of a message: `dropped` and `suppressed` were never sent on, `bounced` came back,
 * `deferred` is tried again by the service. The last five are about what a recipient did.
 */
export type EspEventKind =
  | "accepted"
  | "deferred"
  | "delivered"
  | "bounced"
  | "dropped"
  | "suppressed"
  | "complained"
  | "opened"
  | "clicked"
  | "unsubscribed"
  | "resubscribed";

/** One thing that happened to one recipient, as its service tells it; every text is bounded. */
export interface EspEvent {
  readonly kind: EspEventKind;
  /** The same for the same event, however often it is reported; at most 255 characters. */
  readonly externalId: string;
  readonly occurredAt: Date;
  /** Absent where the service does not say whose it was. */
  readonly recipient?: string;
  /** Our ids, as they were given to the service with the call. */
  readonly messageId?: string;
  readonly callId?: string;
  /** The service's id of the message, in the form in which the call's answer had it. */
  readonly providerMessageId?: string;
  /** What else is worth keeping: reasons and codes. */
  readonly data: Readonly<Record<string, string | number | boolean>>;
}

/** Fields for `EspEvent.data`: texts are cut at 600 characters, what is missing or no value is left out. */
export function eventData(fields: Readonly<Record<string, unknown>>): EspEvent["data"] {
  const data: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (typeof value === "string" && value !== "") data[name] = storable(value, 600);
    else if (typeof value === "boolean") data[name] = value;
    else if (typeof value === "number" && Number.isFinite(value)) data[name] = value;
  }
  return data;
}

/** The ids of a call that we gave to a service, when both are UUIDs; nothing otherwise. */
export function ownIds(message: unknown, call: unknown): Pick<EspEvent, "messageId" | "callId"> {
  return isUuid(message) && isUuid(call) ? { messageId: message, callId: call } : {};
}

function isUuid(value: unknown): value is string {
  return typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value);
}
