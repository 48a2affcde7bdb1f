import type { EspEvent } from "../esp/event.ts";
import { type GroupId, newId, type ProviderId } from "../ids.ts";
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
  const named = new Map(
    events.flatMap(({ messageId, callId }) =>
      messageId === undefined || callId === undefined
        ? []
        : [[`${messageId} ${callId}`, { messageId, callId }] as const]
    ),
  );
  const theirs = new Set(events.flatMap(({ providerMessageId }) => providerMessageId ?? []));
  const ids = [...named.values()];
  return await sql<WebhookProvider>`
    select * from find_webhook_providers(${kind}, ${ids.map((one) => one.messageId)}::uuid[],
      ${ids.map((one) => one.callId)}::uuid[], ${[...theirs]}::text[], ${topic ?? null}::text)`;
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
