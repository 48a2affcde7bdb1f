import { openSession, type Session } from "../../lib/postgres/database.ts";
import { newId } from "../../lib/ids.ts";

/** The ids of one group's rows, one in every table that belongs to groups. */
export interface GroupRows {
  readonly group: string;
  readonly user: string;
  readonly provider: string;
  readonly rule: string;
  readonly message: string;
}

/** Fills every table with one row for each of two groups, as the superuser, and answers their ids. */
export async function twoGroups(ownerUrl: string): Promise<readonly [GroupRows, GroupRows]> {
  await using session = await openSession({ url: ownerUrl });
  return [await fillGroup(session, "alpha"), await fillGroup(session, "beta")];
}

async function fillGroup(session: Session, name: string): Promise<GroupRows> {
  const ids = {
    group: newId<never>() as string,
    user: newId<never>() as string,
    provider: newId<never>() as string,
    rule: newId<never>() as string,
    message: newId<never>() as string,
  };
  const { group, user, provider, rule, message } = ids;
  await session.run(`begin;
    insert into groups (id, name, allowed_domains) values ('${group}', '${name}', '["${name}.example"]');
    insert into users (id, email, username, account_type, password_hash, allowed_domains)
      values ('${user}', '${name}@smtp.internal', '${name}', 'smtp', 'hash-of-${name}', '["${name}.example"]');
    insert into group_members (group_id, user_id, account_type) values ('${group}', '${user}', 'smtp');
    insert into api_keys (group_id, user_id, name, prefix, key_hash)
      values ('${group}', '${user}', 'first', 'sp_${name}', sha256('${name}'));
    insert into esp_providers (id, group_id, name, provider_type, secrets, key_id)
      values ('${provider}', '${group}', 'relay', 'smtp', 'sealed-${name}', 'k1');
    insert into provider_state (provider_id, group_id) values ('${provider}', '${group}');
    insert into routing_rules (id, group_id) values ('${rule}', '${group}');
    insert into routing_rule_providers (group_id, rule_id, position, provider_id)
      values ('${group}', '${rule}', 1, '${provider}');
    insert into usage (group_id, month, messages) values ('${group}', '2026-11-01', 5);
    insert into usage_weeks (week, starts, ends, counted_at) values ('2020w01', '016f541a-3000-7000-8000-000000000000',
      '016f7826-b400-7000-8000-000000000000', now()) on conflict do nothing;
    insert into usage_daily values ('2020w01', '${group}', '2020-01-01', null, 1, 1, 4, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
      0, 0);
    insert into sessions (group_id, user_id, refresh_token_hash, expires_at)
      values ('${group}', '${user}', sha256('session-${name}'), now() + interval '1 day');
    insert into one_time_tokens (group_id, kind, email, role, token_hash, expires_at)
      values ('${group}', 'invitation', 'new@${name}.example', 'member', sha256('token-${name}'), now() + interval '1 day');
    insert into activity_logs (group_id, action, resource_type) values ('${group}', 'test', 'group');
    insert into refused_submissions (id, group_id, account, address, command, code, reason, reply, correlation_id, times,
        first_at, last_at)
      values (uuidv7(), '${group}', '${name}', '192.0.2.1', 'AUTH PLAIN', 535, 'credentials_wrong', 'No', 'c', 1, now(),
        now());
    insert into suppressions (group_id, address, reason) values ('${group}', 'x@${name}.example', 'manual');
    insert into auth_attempts (account, address, failures) values ('${name}', '192.0.2.1', 1);
    insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, storage_ref, body,
        next_attempt_at, correlation_id, enqueued_at)
      values ('${message}', '${group}', '${user}', 'a@${name}.example', 1, 4, sha256('${name}'), 'inline',
        'body-${name}', now(), 'c-${name}', now());
    insert into recipients (message_id, position, group_id, address)
      values ('${message}', 1, '${group}', 'b@${name}.example');
    insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status)
      values (uuidv7(), '${message}', '${group}', '${user}', 1, '{1}', 'delivered');
    insert into delivery_events (id, message_id, group_id, kind, occurred_at)
      values (uuidv7(), '${message}', '${group}', 'delivered', now());
    commit`);
  return ids;
}
