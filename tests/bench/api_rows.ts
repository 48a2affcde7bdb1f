import type { Session } from "../../lib/postgres/database.ts";
import { type GroupId, newId, type ProviderId, type UserId } from "../../lib/ids.ts";

/** Who is in a filled database, and whose mail it is. */
export interface FilledDatabase {
  /** Has nine tenths of the mail. */
  readonly large: GroupId;
  /** Has a hundredth of it. */
  readonly small: GroupId;
  /** An administrator of both. */
  readonly email: string;
}

/** Has taken a third of all mail. */
export const benchProvider = newId<ProviderId>();

/** Has done a fiftieth of all that the activities tell, and what a hundredth of them is about. */
export const benchActor = newId<UserId>();
export const benchResource = newId<ProviderId>();

/** Weeks of mail that a system with the default retention of rows holds. */
const weeks = 13;

/** Fills a new database with mail of three groups and thirteen weeks, nine in ten of it delivered. */
export async function fillMail(
  session: Session,
  rows: number,
  passwordHash: string,
): Promise<FilledDatabase> {
  const groups = { large: newId<GroupId>(), small: newId<GroupId>(), others: newId<GroupId>() };
  const [user, person] = [newId<UserId>(), newId<UserId>()];
  const email = "bench@example.com";
  await session.run(`begin;
    insert into groups (id, name, monthly_limit, allowed_domains)
      select id, name, 0, '["*"]' from (values ${
    Object.entries(groups).map(([name, id]) => `('${id}'::uuid, 'bench ${name}')`)
  }) g (id, name);
    insert into users (id, email, username, account_type, allowed_domains)
      values ('${user}', 'bench@smtp.internal', 'bench', 'smtp', '["example.com"]');
    insert into group_members (group_id, user_id, account_type) values ('${groups.large}', '${user}', 'smtp');
    insert into users (id, email, password_hash) values ('${person}', '${email}', '${passwordHash}');
    insert into group_members (group_id, user_id, account_type, role)
      select id, '${person}', 'human', 'admin' from unnest('{${groups.large},${groups.small}}'::uuid[]) id;
    insert into esp_providers (id, group_id, name, provider_type)
      values ('${benchProvider}', '${groups.large}', 'bench', 'stdout');
    commit`);
  await session.run(pastWeeks);
  await session.run(`begin; set local session_replication_role = replica; set local work_mem = '256MB';
    create temp table made on commit drop as
      select n, id, case when n % 100 = 0 then '${groups.small}'::uuid
        when n % 100 <= 90 then '${groups.large}' else '${groups.others}' end as group_id,
        s.status, n / 100 as serial
      from (select n, (hashint8(n)::bigint & 2147483647) % 10000 as k, (lpad(to_hex((extract(epoch from
          now() - interval '${weeks - 1} weeks' * (1 - n / ${rows + 1}.0)) * 1000)::bigint), 12, '0')
          || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid as id
        from generate_series(1, ${rows}) n) n
      cross join lateral (select ${statusOf(rows)} as status) s;
    insert into messages (id, group_id, user_id, sender, subject, header_from, rfc_message_id, recipient_count, size,
      content_hash, submission_hash, storage_ref, status, failure_code, claimed_until, claims, provider_id,
      next_attempt_at, client_address, helo, correlation_id, enqueued_at, processed_at)
    select id, group_id, '${user}', 's' || serial % 50 || '@example.com', 'Invoice ' || n || ' of ' || serial,
      'Sender <s' || serial % 50 || '@example.com>', '<' || n || '@mail.example.com>', 2, 10240,
      sha256(n::text::bytea), sha256(('s' || n)::bytea), 'local:2026/11/22/21/0-x.seg#' || n || '+10240', status,
      case when status = 'failed' then 'exhausted' end, case when status = 'processing' then now() end,
      case when status = 'queued' then 0 else 1 end, case when status <> 'queued' and serial % 3 = 0
        then '${benchProvider}'::uuid when status <> 'queued' then '${newId()}'::uuid end,
      now() + interval '1 hour', '192.0.2.1', 'client.example.com', 'c' || n, now(),
      case when status not in ('queued', 'processing') then now() end
    from made;
    insert into recipients (message_id, position, group_id, address, status)
    select id, p, group_id, 'r' || (serial + p) % 50 || '@example.net', case status when 'queued' then 'pending'
      when 'processing' then 'pending' when 'delivered' then 'accepted' else 'failed' end
    from made cross join generate_series(1, 2) p;
    insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status, provider_message_id)
    select uuidv7(), id, group_id, '${user}', n, '{1,2}', 'delivered', 'p' || n from made where status = 'delivered';
    insert into activity_logs (id, group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes,
      ip_address)
    select id, group_id, case when serial % 50 = 7 then '${benchActor}'::uuid else '${newId()}'::uuid end, group_id,
      case when serial % 1000 = 5 then 'rule.delete' when serial % 3 = 0 then 'provider.update' else 'auth.login' end,
      case when serial % 1000 = 5 then 'rule' when serial % 3 = 0 then 'provider' else 'session' end,
      case when serial % 100 = 3 then '${benchResource}'::uuid else uuidv7() end,
      '{"before": {"name": "a"}, "after": {"name": "b"}}', '192.0.2.1'
    from made;
    commit`);
  await session.run("vacuum analyze");
  return { large: groups.large, small: groups.small, email };
}

/** The newest are on their way, three thousand of them at most, whatever was before. */
function statusOf(rows: number): string {
  const waiting = Math.min(3000, Math.round(rows * 0.03));
  return `case when n > ${rows - 20} then 'processing' when n > ${rows - waiting} then 'queued'
    when k < 200 then 'failed' when k < 300 then 'storage_error' when k < 400 then 'cancelled'
    when k < 450 then 'enqueue_failed' else 'delivered' end`;
}

/** The weeks before the first: a new database has one partition for all that is old. */
const pastWeeks = `do $$
  declare
    parent text;
    week timestamptz;
    child text;
  begin
    foreach parent in array array['delivery_events', 'delivery_logs', 'recipients', 'message_search', 'messages'] loop
      child := parent || '_' || to_char(date_trunc('week', now(), 'UTC') at time zone 'UTC', 'IYYY"w"IW');
      execute format('alter table %I detach partition %I', parent, child);
      execute format('drop table %I', child);
    end loop;
    foreach parent in array array['messages', 'message_search', 'recipients', 'delivery_logs', 'delivery_events'] loop
      for i in reverse ${weeks - 1}..0 loop
        week := date_trunc('week', now(), 'UTC') - make_interval(weeks => i);
        child := parent || '_' || to_char(week at time zone 'UTC', 'IYYY"w"IW');
        execute format('create table %I partition of %I for values from (%s) to (%L) with (fillfactor = %s)', child,
          parent, case when i = ${weeks - 1} then 'minvalue' else quote_literal(first_uuid_at(week)) end,
          first_uuid_at(week + interval '1 week'),
          case parent when 'delivery_logs' then 60 when 'recipients' then 80 else 100 end);
        execute format('alter table %I enable row level security', child);
        execute format('alter table %I force row level security', child);
        execute format('alter table %I owner to smtp_proxy_owner', child);
      end loop;
    end loop;
  end $$`;
