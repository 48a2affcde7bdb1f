import type { EspEvent } from "../esp/event.ts";
import { type CallId, type GroupId, type MessageId, newId, type ProviderId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import { effectOf } from "./derived_status.ts";

/** A provider whose service may have reported, with what the report is checked by. */
export interface WebhookProvider {
  readonly id: ProviderId;
  readonly groupId: GroupId;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly secrets: Uint8Array | null;
  readonly keyId: string | null;
}

/** The provider of a kind that the token of a path names. */
export async function findWebhookProvider(
  sql: SystemSql,
  kind: string,
  token: string,
): Promise<WebhookProvider | undefined> {
  const [row] = await sql<WebhookProvider>`select * from find_webhook_provider(${kind}, ${token}::uuid)`;
  return row;
}

/** The enabled providers, twenty at most, whose calls these events are of or that believe the topic (ruling 1.20). */
export async function findWebhookProviders(
  sql: SystemSql,
  kind: string,
  events: readonly EspEvent[],
  topic: string | undefined,
): Promise<readonly WebhookProvider[]> {
  const { messages, calls, theirs } = namesOf(events);
  return await sql<WebhookProvider>`
    select * from find_webhook_providers(${kind}, ${messages}::uuid[], ${calls}::uuid[], ${theirs}::text[],
      ${topic ?? null}::text)`;
}

/** A call that was reported of, with what joins it to the session that brought its message. */
export interface ReportedCall {
  readonly id: CallId;
  readonly messageId: MessageId;
  readonly providerMessageId: string | null;
  readonly correlationId: string;
  readonly traceparent: string | null;
}

/** The calls of this provider, a thousand at most, that the events are of. */
export async function findReportedCalls(
  sql: SystemSql,
  provider: ProviderId,
  events: readonly EspEvent[],
): Promise<readonly ReportedCall[]> {
  if (events.length === 0) return [];
  const { messages, calls, theirs } = namesOf(events);
  return await sql<ReportedCall>`
    select * from find_reported_calls(${provider}, ${messages}::uuid[], ${calls}::uuid[], ${theirs}::text[])`;
}

/** By which names the events call their calls: our own ids in pairs, and those of the service. */
function namesOf(events: readonly EspEvent[]) {
  const named = new Map(
    events.flatMap(({ messageId, callId }) =>
      messageId === undefined || callId === undefined
        ? []
        : [[`${messageId} ${callId}`, { messageId, callId }] as const]
    ),
  );
  const ids = [...named.values()];
  return {
    messages: ids.map(({ messageId }) => messageId),
    calls: ids.map(({ callId }) => callId),
    theirs: [...new Set(events.flatMap(({ providerMessageId }) => providerMessageId ?? []))],
  };
}

/**
 * Whether a signature that covers a token alone may stand for a content with this SHA-256: it does for the first
 * content that it came with, however often that comes.
 */
export async function takeWebhookReceipt(
  sql: SystemSql,
  provider: ProviderId,
  token: string,
  contentHash: Uint8Array,
): Promise<boolean> {
  const [row] = await sql<{ taken: boolean }>`
    select take_webhook_receipt(${provider}, ${token}, ${contentHash}::bytea) as taken`;
  return row?.taken ?? false;
}

/**
 * Stores the events that are of calls of this provider, each once, and moves its recipients as far as `effectOf` says;
 * answers how many were new. What is nobody's, or another provider's, is left out.
 */
export async function storeEvents(
  sql: SystemSql,
  provider: ProviderId,
  events: readonly EspEvent[],
): Promise<number> {
  if (events.length === 0) return 0;
  const rows = events.map((event, n) => {
    const effect = effectOf(event.kind);
    return {
      id: newId<never>() as string,
      message_id: event.messageId ?? null,
      call_id: event.callId ?? null,
      theirs: event.providerMessageId ?? null,
      address: event.recipient ?? null,
      kind: event.kind,
      external_id: event.externalId,
      occurred_at: event.occurredAt.toISOString(),
      data: event.data,
      status: effect?.status ?? null,
      replaces: effect?.replaces ?? [],
      n,
    };
  });
  const [row] = await sql<{ stored: number }>`
    select store_events(${provider}, ${JSON.stringify(rows)}::jsonb) as stored`;
  return row?.stored ?? 0;
}
