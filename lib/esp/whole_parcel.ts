import type { Recipient } from "../messages/message.ts";
import { HeaderTooLong } from "../mime/outgoing.ts";
import { TooManyParts } from "../mime/parts.ts";
import { AddressNotAllowed } from "../network/guard.ts";
import type { EspIo, Parcel } from "./esp.ts";
import { callHttp } from "./http.ts";
import type { HttpIo, HttpRequest, HttpResult } from "./http.ts";
import type { CallReport, RecipientOutcome } from "./outcome.ts";
import { storable } from "../storable.ts";

/** A report that says the same of every recipient of a parcel, or of those named. */
export function reportOf(
  parcel: Parcel,
  outcome: RecipientOutcome,
  more: Omit<CallReport, "recipients"> = {},
  recipients: readonly Recipient[] = parcel.recipients,
): CallReport {
  return { ...more, recipients: new Map(recipients.map(({ id }) => [id, outcome])) };
}

/** What an error means that came up while a body was read and made ready: nothing has been sent. */
export function outcomeOfUnreadable(error: unknown, signal: AbortSignal): RecipientOutcome {
  const detail = storable(error instanceof Error ? error.message : String(error), 500);
  if (error instanceof HeaderTooLong) {
    return { kind: "refused", fault: { blame: "message", code: "header_too_long", detail } };
  }
  if (error instanceof TooManyParts) {
    return { kind: "refused", fault: { blame: "message", code: "too_many_parts", detail } };
  }
  // Nobody beyond us is to blame: no breaker trips, no other provider is tried.
  const code = signal.aborted ? "aborted" : "body_unreadable";
  return { kind: "wait", cause: "unavailable", fault: { blame: "message", code, detail } };
}

/** Makes one request as `callHttp` does; a tenant-supplied endpoint is checked first (ruling 3.14). */
export async function callService(
  io: HttpIo & Pick<EspIo, "guardEndpoint">,
  request: HttpRequest,
  signal: AbortSignal,
  isOwnEndpoint: boolean,
): Promise<HttpResult> {
  if (isOwnEndpoint && !signal.aborted) {
    try {
      await io.guardEndpoint(request.url);
    } catch (error) {
      const code = error instanceof AddressNotAllowed ? "request_invalid" : "dns_failed";
      return { kind: "not_sent", code, detail: error instanceof Error ? error.message : String(error) };
    }
  }
  return await callHttp(io, request, signal);
}
