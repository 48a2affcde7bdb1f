import { newId } from "../../lib/ids.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { addGroup, addPerson, type TestApi } from "./api.ts";

/** A group with a provider and the token of its owner. */
export interface Tenant {
  readonly group: string;
  readonly token: string;
  readonly provider: string;
  readonly webhookPath: string;
}

/** A message on its way, and the call that it went by. */
export interface SentMessage {
  readonly message: string;
  readonly call: string;
}

/** Runs a statement as the superuser. */
export async function asSuperuser(api: TestApi, text: string, values: readonly unknown[] = []) {
  await using session = await openSession({ url: api.database.ownerUrl });
  return await session.query(text, values);
}

/** A group of that name whose owner made this provider by the API. */
export async function tenant(api: TestApi, name: string, provider: object): Promise<Tenant> {
  const group = await addGroup(api, name);
  await addPerson(api, `owner@${name}.example`, [[group, "owner"]]);
  const token = await api.login(`owner@${name}.example`);
  return await addProvider(api, { group, token }, provider);
}

/** One more provider of a group. */
export async function addProvider(
  api: TestApi,
  { group, token }: Pick<Tenant, "group" | "token">,
  provider: object,
): Promise<Tenant> {
  const made = await api.ask("POST", "/api/v1/providers", { token, body: { name: "main", ...provider } });
  if (made.status !== 201) throw new Error(`Cannot make a provider: ${JSON.stringify(made.body)}`);
  return { group, token, provider: made.body.id, webhookPath: made.body.webhook_path };
}

/** What a message and its recipients are, for `addSent`. */
export interface SentOptions {
  readonly addresses?: readonly string[];
  readonly status?: string;
  readonly recipientStatus?: string;
  readonly failure?: string;
  readonly providerMessageId?: string;
}

/** A message that the tenant's provider was called for, as the worker would have left it. */
export async function addSent(api: TestApi, owner: Tenant, options: SentOptions = {}): Promise<SentMessage> {
  const { addresses = ["to@there.example"], status = "delivered", recipientStatus = "accepted" } = options;
  const [message, call, user] = [0, 1, 2].map(() => newId<never>() as string) as [string, string, string];
  const failure = options.failure === undefined ? "null" : `'${options.failure}'`;
  await using session = await openSession({ url: api.database.ownerUrl });
  await session.run(`begin;
    insert into users (id, email, username, account_type, password_hash)
      values ('${user}', '${user}@smtp.internal', '${user}', 'smtp', 'none');
    insert into group_members (group_id, user_id, account_type) values ('${owner.group}', '${user}', 'smtp');
    insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, storage_ref, status,
        failure_code, next_attempt_at, correlation_id, enqueued_at)
      values ('${message}', '${owner.group}', '${user}', 'a@here.example', ${addresses.length}, 4, sha256('x'),
        'local:x', '${status}', ${failure}, now(), 'c', now());
    commit`);
  for (const [index, address] of addresses.entries()) {
    await session.query(
      `insert into recipients (message_id, position, group_id, address, status, failure_code)
        values ($1, $2, $3, $4, $5, $6)`,
      [message, index + 1, owner.group, address, recipientStatus, options.failure ?? null],
    );
  }
  await session.query(
    `insert into delivery_logs (id, message_id, group_id, user_id, claim, provider_id, recipients, status,
      provider_message_id) values ($1, $2, $3, $4, 1, $5, $6, 'delivered', $7)`,
    [
      call,
      message,
      owner.group,
      user,
      owner.provider,
      addresses.map((_, index) => index + 1),
      options.providerMessageId ?? null,
    ],
  );
  return { message, call };
}

/** The recipients' statuses in their order, the kinds of the message's events in theirs, and its own status. */
export async function stateOf(api: TestApi, message: string) {
  const recipients = await asSuperuser(
    api,
    "select status from recipients where message_id = $1 order by position",
    [message],
  );
  const events = await asSuperuser(
    api,
    "select kind from delivery_events where message_id = $1 order by id",
    [
      message,
    ],
  );
  const [row] = await asSuperuser(api, "select status, failure_code from messages where id = $1", [message]);
  return {
    recipients: recipients.map((one) => one["status"]),
    events: events.map((one) => one["kind"]),
    message: row?.["status"],
    failure: row?.["failure_code"],
  };
}

/** Posts a report as it is; answers status and body. */
export async function post(
  api: TestApi,
  path: string,
  body: string,
  headers: Readonly<Record<string, string>> = {},
) {
  const given = { "content-type": "application/json", ...headers };
  const response = await api.app(
    new Request(`http://api.test${path}`, { method: "POST", headers: given, body }),
    { remoteAddress: "203.0.113.9" },
  );
  return { status: response.status, body: await response.json() };
}
