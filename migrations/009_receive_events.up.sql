-- expand
-- as login
-- What email services report: stored by functions of one owner, who sees of the mail what it must to know whose a
-- report is. A provider at rest, and the address that its service reports to.
do $$
begin
  begin
    if not exists (select from pg_roles where rolname = 'smtp_proxy_events') then
      create role smtp_proxy_events nologin;
    end if;
  exception when duplicate_object or unique_violation then
    null; -- another database of this cluster created it a moment ago
  end;
end
$$;
grant smtp_proxy_events to smtp_proxy_owner;
grant usage, create on schema public to smtp_proxy_events;
set local role smtp_proxy_owner;

alter table esp_providers
  -- While it rests its mail waits.
  add column paused_at timestamptz,
  -- Names the provider in the path that its service reports to; what is reported is believed for its signature.
  add column webhook_token uuid not null default gen_random_uuid(),
  add constraint esp_providers_webhook_token unique (webhook_token);
create index esp_providers_topic on esp_providers ((settings ->> 'topic_arn'))
  where provider_type = 'ses' and settings ? 'topic_arn';
create index esp_providers_group on esp_providers (group_id, id desc);
grant update (paused_at, webhook_token) on esp_providers to smtp_proxy_group;
-- So that an administrator's leave is for the settings that the administrator saw.
grant select (updated_at) on esp_providers to smtp_proxy_admin;

-- Signatures that sign no content, each bound to the first content that came with it.
create table webhook_receipts (
  group_id uuid not null,
  provider_id uuid not null,
  token text not null check (length(token) between 1 and 100),
  content_hash bytea not null check (length(content_hash) = 32),
  received_at timestamptz not null default now(),
  primary key (provider_id, token),
  foreign key (group_id, provider_id) references esp_providers (group_id, id) on delete cascade
);
create index webhook_receipts_age on webhook_receipts (received_at);
create index webhook_receipts_provider on webhook_receipts (group_id, provider_id);
alter table webhook_receipts enable row level security;
alter table webhook_receipts force row level security;

create policy events_all on webhook_receipts to smtp_proxy_events using (true) with check (true);
create policy events_reads on esp_providers for select to smtp_proxy_events using (true);
create policy events_reads on messages for select to smtp_proxy_events using (true);
create policy events_settles on messages for update to smtp_proxy_events using (status = 'failed')
  with check (status in ('failed', 'delivered'));
create policy events_reads on recipients for select to smtp_proxy_events using (true);
create policy events_moves on recipients for update to smtp_proxy_events using (true) with check (
  status in ('accepted', 'deferred', 'suppressed', 'refused', 'delivered', 'bounced', 'complained'));
create policy events_reads on delivery_logs for select to smtp_proxy_events using (true);
create policy events_reads on delivery_events for select to smtp_proxy_events using (true);
create policy events_tells on delivery_events for insert to smtp_proxy_events with check (true);
grant select, insert, delete on webhook_receipts to smtp_proxy_events;
grant select (id, group_id, provider_type, settings, secrets, key_id, enabled, webhook_token) on esp_providers
  to smtp_proxy_events;
grant select (id, group_id, status, failure_code, correlation_id, traceparent), update (status, failure_code) on messages
  to smtp_proxy_events;
grant select (message_id, position, group_id, address, address_lower, status, failure_code),
  update (status, failure_code, updated_at) on recipients to smtp_proxy_events;
grant select (id, message_id, group_id, provider_id, provider_message_id, recipients) on delivery_logs
  to smtp_proxy_events;
grant select (id, message_id, external_id), insert on delivery_events to smtp_proxy_events;

-- The provider that a path names.
create function find_webhook_provider(kind text, token uuid)
  returns table (id uuid, group_id uuid, settings jsonb, secrets bytea, key_id text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    select p.id, p.group_id, p.settings, p.secrets, p.key_id from esp_providers p
    where p.webhook_token = token and p.provider_type = kind;
  end;

-- The enabled providers of a kind that made one of these calls, or that believe this topic: nobody else's key is asked
-- (ruling 1.20). Calls are named by the message's and the call's id, or by the id that the service gave.
create function find_webhook_providers(kind text, messages uuid[], calls uuid[], theirs text[], topic text)
  returns table (id uuid, group_id uuid, settings jsonb, secrets bytea, key_id text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    with callers as (
      select l.provider_id from unnest(messages, calls) as asked (message_id, call_id)
        join delivery_logs l on l.message_id = asked.message_id and l.id = asked.call_id
      union
      select l.provider_id from delivery_logs l where l.provider_message_id = any(theirs)
    ), believers as (
      select t.id from esp_providers t
        where t.provider_type = 'ses' and t.settings ? 'topic_arn' and t.settings ->> 'topic_arn' = topic
    )
    select p.id, p.group_id, p.settings, p.secrets, p.key_id from esp_providers p
    where p.enabled and p.provider_type = kind
      and (p.id in (select provider_id from callers) or p.id in (select id from believers))
    -- Anybody may name anybody's topic; whoever made the calls is not crowded out by that.
    order by p.id in (select provider_id from callers) desc, p.id limit 20;
  end;

-- Whether a signature that signs no content may stand for this one: it stands for the first that it came with, and
-- for the same again. Forgets a few that are too old to be believed anyway.
create function take_webhook_receipt(given_provider uuid, given_token text, content bytea) returns boolean
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  delete from webhook_receipts where (provider_id, token) in (
    select r.provider_id, r.token from webhook_receipts r where r.received_at < now() - interval '2 days'
    order by r.received_at limit 10);
  insert into webhook_receipts (group_id, provider_id, token, content_hash)
    select p.group_id, p.id, given_token, content from esp_providers p where p.id = given_provider
    on conflict do nothing;
  return exists (select from webhook_receipts r
    where r.provider_id = given_provider and r.token = given_token and r.content_hash = content);
end
$$;

-- Stores what a provider's service reported of calls that this provider made, each event once, and moves recipients
-- as far as the event is news: `status` is what the event makes of a recipient that is in one of `replaces`. Answers
-- how many events are new; those of nobody's calls are left out.
create function store_events(given_provider uuid, reported jsonb) returns integer
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
  event record;
  made_call record;
  found_position smallint;
  made integer;
  stored integer := 0;
  touched uuid[] := '{}';
begin
  -- In one order, so that two who report of the same recipients never wait for each other crosswise.
  for event in
    select e.* from jsonb_to_recordset(reported) as e (id uuid, message_id uuid, call_id uuid, theirs text,
      address text, kind text, external_id text, occurred_at timestamptz, data jsonb, status text, replaces text[], n int)
    order by e.message_id, e.theirs, e.address, e.n
  loop
    select l.id, l.message_id, l.group_id, l.recipients into made_call from delivery_logs l
      where event.message_id is not null and l.message_id = event.message_id and l.id = event.call_id
        and l.provider_id = given_provider;
    if not found then
      select l.id, l.message_id, l.group_id, l.recipients into made_call from delivery_logs l
        where event.theirs is not null and l.provider_message_id = event.theirs and l.provider_id = given_provider
        order by l.id desc limit 1;
    end if;
    continue when made_call.id is null;
    select r.position into found_position from recipients r
      where r.message_id = made_call.message_id and r.address_lower = lower(event.address)
        and r.position = any(made_call.recipients)
      order by r.address = event.address desc, r.position limit 1;
    insert into delivery_events (id, message_id, group_id, position, call_id, provider_id, kind, external_id,
        occurred_at, data)
      values (event.id, made_call.message_id, made_call.group_id, found_position, made_call.id, given_provider, event.kind,
        event.external_id, event.occurred_at, event.data)
      on conflict (message_id, external_id) do nothing;
    get diagnostics made = row_count;
    stored := stored + made;
    continue when made = 0 or event.status is null or found_position is null;
    update recipients r set status = event.status, updated_at = clock_timestamp(),
        failure_code = case when event.status in ('suppressed', 'refused', 'bounced') then 'refused' end
      where r.message_id = made_call.message_id and r.position = found_position and r.status = any(event.replaces);
    if found and not made_call.message_id = any(touched) then
      touched := touched || made_call.message_id;
    end if;
  end loop;
  -- A dead letter whose recipients turn out to have been served is none (rulings 1.13, 3.12).
  update messages m set status = case when o.bad = 0 then 'delivered' else 'failed' end,
      failure_code = case when o.bad > 0 then coalesce(o.worst, m.failure_code) end
    from (
      select r.message_id,
        count(*) filter (where r.status in ('pending', 'refused', 'failed', 'unknown', 'bounced')) as bad,
        (array_agg(r.failure_code order by array_position(
          array['unknown', 'crashed', 'expired', 'exhausted', 'refused'], r.failure_code::text))
          filter (where r.failure_code is not null))[1] as worst
      from recipients r where r.message_id = any(touched) group by r.message_id
    ) o
    where m.id = o.message_id and m.id = any(touched) and m.status = 'failed';
  return stored;
end
$$;

-- The calls of this provider that were reported of, a thousand at most, with what joins them to the sessions that
-- brought their messages. Calls are named as in find_webhook_providers.
create function find_reported_calls(given_provider uuid, messages uuid[], calls uuid[], theirs text[])
  returns table (id uuid, message_id uuid, provider_message_id text, correlation_id text, traceparent text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    select l.id, l.message_id, l.provider_message_id, m.correlation_id, m.traceparent
    from (
      select l.id, l.message_id, l.provider_message_id from unnest(messages, calls) as asked (message_id, call_id)
        join delivery_logs l on l.message_id = asked.message_id and l.id = asked.call_id
        where l.provider_id = given_provider
      union
      select l.id, l.message_id, l.provider_message_id from delivery_logs l
        where l.provider_message_id = any(theirs) and l.provider_id = given_provider
      limit 1000
    ) l
      join messages m on m.id = l.message_id;
  end;

do $$
declare signature text;
begin
  foreach signature in array array[
    'find_webhook_provider(text, uuid)', 'find_webhook_providers(text, uuid[], uuid[], text[], text)',
    'take_webhook_receipt(uuid, text, bytea)', 'store_events(uuid, jsonb)',
    'find_reported_calls(uuid, uuid[], uuid[], text[])'
  ] loop
    execute format('alter function %s owner to smtp_proxy_events', signature);
    execute format('revoke execute on function %s from public', signature);
    execute format('grant execute on function %s to smtp_proxy_login', signature);
  end loop;
end
$$;
