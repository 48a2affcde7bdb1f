import type { EspEvent } from "../../lib/esp/event.ts";
import type { ReportedCall } from "../../lib/events/webhooks_table.ts";
import type { ProviderId } from "../../lib/ids.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { startSpan } from "../../lib/telemetry/tracing.ts";

/** What a provider's service reported, and of which calls. */
export interface Told {
  readonly kind: string;
  readonly provider: ProviderId;
  readonly events: readonly EspEvent[];
  readonly calls: readonly ReportedCall[];
  /** When the report came, milliseconds since 1970. */
  readonly receivedAtMs: number;
}

/**
 * One log line and one span for each call that was reported of: the line names the SMTP session that brought the
 * message, the span goes on with the trace of its acceptance.
 */
export function tellReported({ kind, provider, events, calls, receivedAtMs }: Told, log: Log): void {
  for (const { id: call, messageId, providerMessageId, correlationId, traceparent } of calls) {
    const theirs = events.filter((event) =>
      event.callId === call ||
      (event.providerMessageId !== undefined && event.providerMessageId === providerMessageId)
    );
    const outcome = [...new Set(theirs.map((event) => event.kind))].join(", ");
    const count = theirs.length;
    log.info("report received", {
      correlationId,
      messageId,
      call,
      provider,
      providerType: kind,
      outcome,
      count,
    });
    if (traceparent === null) continue;
    const attributes = {
      "message.id": messageId,
      "correlation.id": correlationId,
      "call.id": call,
      "provider.type": kind,
      "report.events": outcome,
    };
    startSpan(`webhook ${kind}`, { parent: traceparent, attributes, startTimeMs: receivedAtMs })?.end();
  }
}
