-- expand
-- What became of mail, by day, so that statistics outlive the rows. A week of messages is counted once, right before it
-- is dropped: first it is frozen, so that no report changes it any more, then counted in portions, each with the place to
-- go on from in one transaction. Whoever reads takes a week from here once all of it is counted, and from its rows before.
create table usage_weeks (
  week text primary key,
  -- The ids of its messages: the first, and the first behind it.
  starts uuid not null,
  ends uuid not null unique,
  frozen_at timestamptz not null default clock_timestamp(),
  -- The last message that is in the counts.
  counted_until uuid,
  counted_at timestamptz,
  check (starts < ends)
);

create table usage_daily (
  week text not null references usage_weeks on delete cascade,
  group_id uuid not null references groups,
  -- When they were accepted, by UTC and the message's id.
  day date not null,
  provider_id uuid,
  -- Messages by status; `failed` are dead letters of either.
  messages bigint not null,
  recipients bigint not null,
  bytes bigint not null,
  delivered bigint not null,
  failed bigint not null,
  cancelled bigint not null,
  enqueue_failed bigint not null,
  -- Recipients by status.
  to_accepted bigint not null,
  to_delivered bigint not null,
  to_deferred bigint not null,
  to_bounced bigint not null,
  to_complained bigint not null,
  to_refused bigint not null,
  to_suppressed bigint not null,
  to_failed bigint not null,
  to_unknown bigint not null,
  to_cancelled bigint not null,
  unique nulls not distinct (week, group_id, day, provider_id)
);
create index usage_daily_group on usage_daily (group_id, day);
alter table usage_daily enable row level security;
alter table usage_daily force row level security;
create policy own_group on usage_daily for select to smtp_proxy_group using (group_id = (select current_group_id()));
create policy worker_counts on usage_daily to smtp_proxy_worker using (true) with check (true);
grant select on usage_daily, usage_weeks to smtp_proxy_group;
grant select, insert, update, delete on usage_daily, usage_weeks to smtp_proxy_worker;

-- The day by which a message is counted.
create function day_of_message(id uuid, accepted timestamptz) returns date language sql immutable parallel safe
  return (coalesce(uuid_extract_timestamp(id), accepted) at time zone 'UTC')::date;

-- One step towards counting a week whose messages are all finished: freezes it, or counts a portion. Answers whether all
-- of it is counted.
create function count_week(week text, portion integer) returns boolean language plpgsql
  set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
  state usage_weeks;
  last uuid;
begin
  select * into state from usage_weeks w where w.week = count_week.week for update;
  if not found then
    -- Whoever stores reports at this moment comes first; whoever comes later finds it frozen.
    perform pg_advisory_xact_lock(hashtext('smtp_proxy.freeze_weeks'));
    insert into usage_weeks (week, starts, ends)
      select count_week.week,
        coalesce(substring(pg_get_expr(c.relpartbound, c.oid) from 'FROM \(''([0-9a-f-]{36})''\)'),
          '00000000-0000-0000-0000-000000000000')::uuid, message_week_end(c.oid)
      from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'public.messages'::regclass and c.relname = 'messages_' || count_week.week
        and message_week_end(c.oid) <= first_uuid_at(now() - interval '1 day');
    if not found then
      raise exception 'Cannot count week %: it is no week of messages or too young', count_week.week;
    end if;
    return false;
  end if;
  if state.counted_at is not null then
    return true;
  end if;
  with page as materialized (
    select m.id, m.group_id, day_of_message(m.id, m.enqueued_at) as day, m.provider_id, m.status, m.recipient_count,
      m.size
    from messages m
    where m.id >= state.starts and m.id < state.ends
      and m.id > coalesce(state.counted_until, '00000000-0000-0000-0000-000000000000')
    order by m.id limit portion
  ), added as (
    insert into usage_daily as d (week, group_id, day, provider_id, messages, recipients, bytes, delivered, failed,
        cancelled, enqueue_failed, to_accepted, to_delivered, to_deferred, to_bounced, to_complained, to_refused,
        to_suppressed, to_failed, to_unknown, to_cancelled)
      select count_week.week, p.group_id, p.day, p.provider_id, count(*), sum(p.recipient_count), sum(p.size),
        count(*) filter (where p.status = 'delivered'), count(*) filter (where p.status in ('failed', 'storage_error')),
        count(*) filter (where p.status = 'cancelled'), count(*) filter (where p.status = 'enqueue_failed'),
        sum(o.accepted), sum(o.delivered), sum(o.deferred), sum(o.bounced), sum(o.complained), sum(o.refused),
        sum(o.suppressed), sum(o.failed), sum(o.unknown), sum(o.cancelled)
      from page p cross join lateral count_recipients(p.id) o
      group by p.group_id, p.day, p.provider_id
    on conflict (week, group_id, day, provider_id) do update set messages = d.messages + excluded.messages,
      recipients = d.recipients + excluded.recipients, bytes = d.bytes + excluded.bytes,
      delivered = d.delivered + excluded.delivered, failed = d.failed + excluded.failed,
      cancelled = d.cancelled + excluded.cancelled, enqueue_failed = d.enqueue_failed + excluded.enqueue_failed,
      to_accepted = d.to_accepted + excluded.to_accepted, to_delivered = d.to_delivered + excluded.to_delivered,
      to_deferred = d.to_deferred + excluded.to_deferred, to_bounced = d.to_bounced + excluded.to_bounced,
      to_complained = d.to_complained + excluded.to_complained, to_refused = d.to_refused + excluded.to_refused,
      to_suppressed = d.to_suppressed + excluded.to_suppressed, to_failed = d.to_failed + excluded.to_failed,
      to_unknown = d.to_unknown + excluded.to_unknown, to_cancelled = d.to_cancelled + excluded.to_cancelled
  )
  select p.id into last from page p order by p.id desc limit 1;
  update usage_weeks w set counted_until = coalesce(last, w.counted_until),
    counted_at = case when last is null then clock_timestamp() end
  where w.week = count_week.week;
  return last is null;
end
$$;

-- The recipients of a message by status.
create function count_recipients(message uuid) returns table (accepted bigint, delivered bigint, deferred bigint,
    bounced bigint, complained bigint, refused bigint, suppressed bigint, failed bigint, unknown bigint,
    cancelled bigint)
  language sql stable
  begin atomic
    select count(*) filter (where r.status = 'accepted'), count(*) filter (where r.status = 'delivered'),
      count(*) filter (where r.status = 'deferred'), count(*) filter (where r.status = 'bounced'),
      count(*) filter (where r.status = 'complained'), count(*) filter (where r.status = 'refused'),
      count(*) filter (where r.status = 'suppressed'), count(*) filter (where r.status = 'failed'),
      count(*) filter (where r.status = 'unknown'), count(*) filter (where r.status = 'cancelled')
    from recipients r where r.message_id = message;
  end;

-- Forgets what was counted of a week of which a message came to be unfinished after all, unless it is being dropped.
create function recount_week(week text) returns void language sql set search_path = pg_catalog, public, pg_temp
  begin atomic
    delete from usage_weeks w where w.week = recount_week.week
      and to_regclass(quote_ident('recipients_' || recount_week.week)) is not null;
  end;

revoke execute on function day_of_message(uuid, timestamptz), count_recipients(uuid), count_week(text, integer),
  recount_week(text) from public;
grant execute on function day_of_message(uuid, timestamptz), count_recipients(uuid) to
  smtp_proxy_group, smtp_proxy_worker;
grant execute on function count_week(text, integer), recount_week(text) to smtp_proxy_worker;

-- A week is dropped when it is counted, and what is reported of a frozen one comes too late.
grant select (starts, ends) on usage_weeks to smtp_proxy_events;
do $$
declare
  signature regprocedure;
  place text;
  added text;
  old text;
begin
  for signature, place, added in values
    ('drop_week(text, integer)', E'\n  if to_regclass(quote_ident(''recipients_'' || week)) is not null then', $add$
  if not exists (select from usage_weeks w where w.week = drop_week.week and w.counted_at is not null) then
    raise exception 'Cannot drop week %: its days are not counted yet', week;
  end if;$add$),
    ('store_events(uuid, jsonb)', E'\n  -- In one order, so', $add$
  perform pg_advisory_xact_lock_shared(hashtext('smtp_proxy.freeze_weeks'));$add$),
    ('store_events(uuid, jsonb)', E'\n    select r.position into found_position', $add$
    continue when exists (select from usage_weeks w
      where w.ends > made_call.message_id and w.starts <= made_call.message_id);$add$)
  loop
    old := pg_get_functiondef(signature);
    if strpos(old, place) = 0 then
      raise exception 'Cannot keep weeks until they are counted: % is not the one expected', signature;
    end if;
    execute replace(old, place, added || place);
  end loop;
end
$$;
