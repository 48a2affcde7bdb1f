import type { GroupId, MessageId, ProviderId } from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";

/** A provider as far as routes are explained. */
export interface NamedProvider {
  readonly id: ProviderId;
  readonly name: string;
  readonly providerType: string;
  readonly enabled: boolean;
}

/** What the tables know of a stored message; its other headers and its parts are in the body alone. */
export interface StoredMessage {
  readonly id: MessageId;
  readonly sender: string;
  readonly account: string;
  readonly size: number;
  readonly subject: string | null;
  readonly headerFrom: string | null;
  /** The addresses of the first recipients, in the envelope's order. */
  readonly recipients: readonly string[];
}

/** A group's providers, oldest first, disabled ones included. */
export async function listNamedProviders(sql: GroupSql, group: GroupId): Promise<readonly NamedProvider[]> {
  return await sql<NamedProvider>`
    select id, name, provider_type, enabled from esp_providers where group_id = ${group} order by created_at, id`;
}

/** A message of a group with as many of its recipients as asked for. */
export async function findStoredMessage(
  sql: GroupSql,
  group: GroupId,
  id: string,
  recipients: number,
): Promise<StoredMessage | undefined> {
  const [message] = await sql<StoredMessage>`
    select m.id, m.sender, m.user_id as account, m.size, m.subject, m.header_from, array(
      select r.address from recipients r
      where r.message_id = ${id} and r.group_id = ${group} and r.position <= ${recipients} order by r.position
    ) as recipients
    from messages m where m.id = ${id} and m.group_id = ${group}`;
  return message;
}
