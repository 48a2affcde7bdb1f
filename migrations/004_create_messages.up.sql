-- expand
-- Values that a column may hold, as domains and not as checks of the tables: PostgreSQL reads a table's checks anew for
-- every statement that writes to it, and a domain's once.
create domain message_status as text check (
  value in ('queued', 'processing', 'delivered', 'failed', 'enqueue_failed', 'storage_error', 'cancelled'));
create domain recipient_status as text check (
  value in ('pending', 'accepted', 'delivered', 'deferred', 'bounced', 'complained', 'refused', 'suppressed', 'failed',
    'unknown', 'cancelled'));
create domain failure_code as text check (
  value in ('refused', 'exhausted', 'expired', 'unknown', 'crashed', 'cancelled', 'restored'));
create domain call_status as text check (value in ('started', 'delivered', 'partial', 'failed', 'unknown'));
create domain storage_ref as text check (value = 'inline' or value like 'local:_%' or value like 's3:_%');
create domain dsn_return as text check (value in ('FULL', 'HDRS'));
create domain sha256_digest as bytea check (length(value) = 32);
create domain positive as integer check (value > 0);
create domain small_positive as smallint check (value > 0);
create domain duration as integer check (value >= 0);
create domain byte_count as bigint check (value >= 0);

-- Partitioned by week of the UUIDv7 key from the start; all four by the message's id, so that a week goes as a whole
-- and whatever belongs to one message lies in one partition of each (ruling 3.15).
create table messages (
  id uuid primary key,
  group_id uuid not null references groups,
  user_id uuid not null references users,
  sender varchar(320) not null,
  subject varchar(998),
  header_from varchar(320),
  rfc_message_id varchar(998),
  recipient_count positive not null,
  size byte_count not null,
  content_hash sha256_digest not null,
  -- Account, envelope, Message-ID and content; null when the client gave no Message-ID (ruling 3.3, resubmission).
  submission_hash bytea,
  storage_ref storage_ref not null,
  body bytea,
  body_removed_at timestamptz,
  status message_status not null default 'queued',
  failure_code failure_code,
  -- The claim in force and who holds it; every write about a claim names it (ruling 3.5).
  claim bigint,
  claimed_by varchar(255),
  claimed_until timestamptz,
  -- Claims since the last one that ended as it should: a message that kills its workers shows here.
  claims smallint not null default 0,
  attempts smallint not null default 0,
  next_attempt_at timestamptz not null,
  -- When the sweeper rings this message again, if nobody has claimed it by then; doubles (ruling 3.6).
  ring_after timestamptz,
  rings smallint not null default 0,
  provider_id uuid,
  smtp_utf8 boolean not null default false,
  eight_bit boolean not null default false,
  dsn_return dsn_return,
  envelope_id varchar(400),
  client_address inet,
  helo varchar(512),
  tls varchar(100),
  correlation_id varchar(128) not null,
  traceparent varchar(64),
  enqueued_at timestamptz not null,
  processed_at timestamptz,
  unique (group_id, id),
  check ((storage_ref = 'inline') = (body is not null) or body_removed_at is not null),
  check ((status = 'processing') = (claimed_until is not null)),
  check (status <> 'failed' or failure_code is not null)
) partition by range (id);
create index messages_due on messages (next_attempt_at) where status = 'queued';
create index messages_lane on messages (group_id, next_attempt_at) where status = 'queued';
create index messages_claimed on messages (claimed_until) where status = 'processing';
create index messages_submission on messages (submission_hash, id) where submission_hash is not null;

create table recipients (
  message_id uuid not null,
  position small_positive not null,
  group_id uuid not null,
  address varchar(320) not null,
  address_lower text collate "C" generated always as (lower(address)) stored,
  notify varchar(64),
  original_recipient varchar(600),
  status recipient_status not null default 'pending',
  failure_code failure_code,
  attempts smallint not null default 0,
  -- Null: due whenever its message is.
  next_attempt_at timestamptz,
  -- What it was put off for the last time: a wait that grows begins anew with another cause (ruling 3.4).
  wait_cause varchar(32),
  fault_code varchar(64),
  fault_detail varchar(600),
  -- The last call made for it.
  call_id uuid,
  updated_at timestamptz,
  primary key (message_id, position),
  foreign key (group_id, message_id) references messages (group_id, id)
) partition by range (message_id);
create index recipients_address on recipients (group_id, address_lower, message_id);

-- One row per call to an ESP, committed before the call is made; one without provider for an unreadable body.
create table delivery_logs (
  id uuid not null,
  message_id uuid not null,
  group_id uuid not null,
  user_id uuid not null,
  claim bigint not null,
  provider_id uuid,
  provider varchar(50),
  provider_message_id varchar(255),
  -- Positions of the recipients that the call is for.
  recipients smallint[] not null,
  status call_status not null,
  attempt_number smallint not null default 1,
  -- What became of each recipient that was not simply accepted: {"2": {"kind": "refused", "code": "smtp_550"}}
  outcomes jsonb,
  response_code integer,
  response_body varchar(2000),
  esp_code varchar(100),
  request_id varchar(255),
  last_error varchar(600),
  duration_ms duration,
  metadata jsonb,
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz,
  delivered_at timestamptz,
  primary key (message_id, id),
  foreign key (group_id, message_id) references messages (group_id, id)
) partition by range (message_id);
create index delivery_logs_provider_message on delivery_logs (provider_message_id)
  where provider_message_id is not null;
create index delivery_logs_group on delivery_logs (group_id, id desc);

create table delivery_events (
  id uuid not null,
  message_id uuid not null,
  group_id uuid not null,
  position smallint,
  call_id uuid,
  provider_id uuid,
  kind text not null check (length(kind) between 1 and 32),
  -- Makes an event that an ESP reports twice the same event.
  external_id varchar(255),
  occurred_at timestamptz not null,
  received_at timestamptz not null default now(),
  data jsonb,
  primary key (message_id, id),
  unique (message_id, external_id),
  foreign key (group_id, message_id) references messages (group_id, id)
) partition by range (message_id);

create sequence message_claims;

-- The queue's epoch as workers last saw it (ruling 3.6).
create table queue_state (
  only_row boolean primary key default true check (only_row),
  epoch text not null
);

-- Worker processes, each under the name it keeps across restarts: a successor frees what its predecessor held.
create table workers (
  name text primary key check (length(name) between 1 and 255),
  incarnation uuid not null,
  seen_at timestamptz not null default clock_timestamp()
);

-- Makes the partitions of the weeks from the given moment on; callable by services, which own nothing.
create function ensure_partitions(weeks integer) returns integer language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  parent text;
  week timestamptz;
  made integer := 0;
  child text;
  lower_bound text;
begin
  if weeks not between 1 and 60 then
    raise exception 'Cannot make partitions for % weeks: from 1 to 60 are allowed', weeks;
  end if;
  perform pg_advisory_xact_lock(hashtext('smtp_proxy.ensure_partitions'));
  for i in 0..weeks loop
    week := date_trunc('week', now(), 'UTC') + make_interval(weeks => i);
    foreach parent in array array['messages', 'recipients', 'delivery_logs', 'delivery_events'] loop
      child := parent || '_' || to_char(week at time zone 'UTC', 'IYYY"w"IW');
      continue when to_regclass('public.' || child) is not null;
      -- The first partition of all takes whatever is older.
      lower_bound := case
        when exists (select from pg_inherits where inhparent = to_regclass('public.' || parent))
          then quote_literal(first_uuid_at(week)) else 'minvalue' end;
      execute format('create table public.%I partition of public.%I for values from (%s) to (%L) with '
        || '(fillfactor = %s, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.1)',
        child, parent, lower_bound, first_uuid_at(week + interval '1 week'),
        -- Room for the row's next version on its own page, so that its indexes need not change.
        case parent when 'delivery_logs' then 60 when 'recipients' then 80 else 100 end);
      execute format('alter table public.%I enable row level security', child);
      execute format('alter table public.%I force row level security', child);
      made := made + 1;
    end loop;
  end loop;
  return made;
end
$$;

-- The smallest UUIDv7 of a moment (RFC 9562 section 5.7).
create function first_uuid_at(moment timestamptz) returns uuid language sql immutable
  return (lpad(to_hex(floor(extract(epoch from moment) * 1000)::bigint), 12, '0') || '70008000000000000000')::uuid;

-- The messages of these submissions. They are asked for in the order of the index of submissions, and nothing may sort:
-- the key's index seems as cheap while a week is young, and a plan made then would go on reading all of the time's
-- messages.
create function submitted(hashes bytea[], oldest uuid, newest uuid) returns uuid[] language plpgsql
  set search_path = pg_catalog, public, pg_temp set enable_sort = off set enable_incremental_sort = off as $$
begin
  return array(select m.id from messages m where m.submission_hash = any(hashes) and m.id between oldest and newest
    order by m.submission_hash, m.id);
end
$$;

-- The latest message that stands for a submission. For one that no worker has had yet (a settlement leaves its time
-- behind) whoever comes again rings, which the attempt answered says; whoever rang for it before may no longer give it
-- up, and neither may he, for both may have been told that it was taken. When another is due is its worker's to say.
-- A function, so that it sees what was committed while its caller waited for the group's lock.
create function find_submission(of_group uuid, hash bytea, oldest uuid, newest uuid)
  returns table (id uuid, status text, attempt timestamptz) language plpgsql strict
  set search_path = pg_catalog, public, pg_temp as $$
declare
  same constant uuid[] := submitted(array[hash], oldest, newest);
  is_free boolean;
begin
  select m.id, m.status,
    m.status = 'queued' and m.claim is null and m.claims = 0 and m.attempts = 0 and m.processed_at is null
  into find_submission.id, find_submission.status, is_free
  from messages m
  where m.id = any(same) and m.id between oldest and newest and m.group_id = of_group
    and (m.status in ('queued', 'processing', 'delivered') or m.status = 'enqueue_failed' and m.body_removed_at is null)
  order by m.id desc limit 1;
  if not found then
    return;
  end if;
  if is_free then
    update messages m set next_attempt_at = clock_timestamp()
    where m.id = find_submission.id and case m.status when 'queued'
      then m.claim is null and m.claims = 0 and m.attempts = 0 and m.processed_at is null else false end
    returning m.next_attempt_at into attempt;
  end if;
  return next;
end
$$;

-- Stores a batch whose groups are locked by the caller, with a verdict on each item; nothing rings. What was submitted
-- before is answered with the message that stands for it; without an attempt nobody need ring, and only the attempt of
-- one that is stored or revived is a right to give it up.
create function store_messages_one_by_one(items jsonb, oldest uuid, newest uuid)
  returns table (n integer, verdict text, id uuid, monthly_limit integer, attempt text, has_rung boolean)
  language plpgsql set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
  this_month constant date := date_trunc('month', now(), 'UTC') at time zone 'UTC';
begin
  return query
    with item as materialized (
      select * from jsonb_to_recordset(items) as item (n int, id uuid, group_id uuid, user_id uuid, sender text,
        subject text, header_from text, rfc_message_id text, size bigint, content_hash bytea, submission_hash bytea,
        storage_ref text, body bytea, smtp_utf8 boolean, eight_bit boolean, dsn_return text, envelope_id text,
        client_address inet, helo text, tls text, correlation_id text, traceparent text, recipients jsonb)
    ), account as materialized (
      select u.group_id, u.messages, g.monthly_limit, g.status
      from usage u join groups g on g.id = u.group_id
      where u.group_id in (select group_id from item) and u.month = this_month
    ), ranked as (
      select i.*, e.id as earlier_id, e.status as earlier_status, e.attempt as earlier_attempt, a.monthly_limit,
        a.status as group_status, a.messages + count(*) filter (where e.id is null or e.status = 'enqueue_failed')
          over (partition by i.group_id order by i.n) as would_be
      from item i join account a using (group_id)
        left join lateral find_submission(a.group_id, i.submission_hash, oldest, newest) e on true
    ), decided as materialized (
      select *, clock_timestamp() as attempt, case
        when group_status <> 'active' then 'group_inactive'
        when earlier_id is not null and earlier_status <> 'enqueue_failed' then 'resubmitted'
        when monthly_limit > 0 and would_be > monthly_limit then 'over_quota'
        when earlier_id is not null then 'revived'
        else 'stored' end as verdict
      from ranked
    ), revived as (
      update messages m set status = 'queued', next_attempt_at = d.attempt, processed_at = null
      from decided d where d.verdict = 'revived' and m.id = d.earlier_id and m.status = 'enqueue_failed'
        and m.body_removed_at is null
      returning m.id, m.group_id, m.next_attempt_at
    ), charged as (
      update usage u set messages = u.messages + c.count
      from (select group_id, count(*) from (select group_id from decided where verdict = 'stored'
        union all select group_id from revived) new group by group_id) c
      where u.group_id = c.group_id and u.month = this_month
    ), stored as (
      insert into messages (id, group_id, user_id, sender, subject, header_from, rfc_message_id, recipient_count, size,
        content_hash, submission_hash, storage_ref, body, status, next_attempt_at, smtp_utf8, eight_bit, dsn_return,
        envelope_id, client_address, helo, tls, correlation_id, traceparent, enqueued_at)
      select id, group_id, user_id, sender, subject, header_from, rfc_message_id, jsonb_array_length(recipients), size,
        content_hash, submission_hash, storage_ref, body, 'queued', attempt, smtp_utf8, eight_bit,
        dsn_return, envelope_id, client_address, helo, tls, correlation_id, traceparent, clock_timestamp()
      from decided where verdict = 'stored'
    ), named as (
      insert into recipients (message_id, position, group_id, address, notify, original_recipient)
      select d.id, r.position, d.group_id, r.value ->> 'a', r.value ->> 'n', r.value ->> 'o'
      from decided d cross join lateral jsonb_array_elements(d.recipients) with ordinality as r (value, position)
      where d.verdict = 'stored'
    )
    -- A row given up while this waited is seen by the look-up alone: it is not revived, and its client comes again.
    select d.n, case when d.verdict = 'revived' and r.id is null then 'missed' else d.verdict end,
      d.earlier_id, d.monthly_limit,
      case d.verdict when 'stored' then d.attempt when 'revived' then r.next_attempt_at
        when 'resubmitted' then d.earlier_attempt end::text, false
    from decided d left join revived r on r.id = d.earlier_id;
end
$$;

-- Stores a batch of messages: one answer for each item that has a counter for this month, which it charges. `groups`
-- names each group of the items once, in order, and `counts` how many items it has. With `rings` the doorbells ring in
-- the same transaction. A function of several statements, because each sees what was committed before it began, and
-- what is seldom needed (a resubmission, a limit, a group that may not send) costs the others nothing.
create function store_messages(items jsonb, groups uuid[], counts integer[], hashes bytea[], oldest uuid, newest uuid,
    rings boolean)
  returns table (n integer, verdict text, id uuid, monthly_limit integer, attempt text, has_rung boolean)
  language plpgsql set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
  this_month constant date := date_trunc('month', now(), 'UTC') at time zone 'UTC';
  charged integer;
begin
  -- In order of id, as everybody locks them; a lone one is locked by its charge.
  if cardinality(groups) > 1 then
    perform from usage u where u.group_id = any(groups) and u.month = this_month order by u.group_id for update;
  end if;
  update usage u set messages = u.messages + c.count
  from unnest(groups, counts) as c (group_id, count) where u.group_id = c.group_id and u.month = this_month;
  get diagnostics charged = row_count;
  if charged < cardinality(groups) or exists (
    select from groups g join usage u on u.group_id = g.id and u.month = this_month
    where g.id = any(groups) and (g.status <> 'active' or g.monthly_limit > 0 and u.messages > g.monthly_limit)
  ) or cardinality(submitted(hashes, oldest, newest)) > 0 then
    update usage u set messages = u.messages - c.count
    from unnest(groups, counts) as c (group_id, count) where u.group_id = c.group_id and u.month = this_month;
    return query select * from store_messages_one_by_one(items, oldest, newest);
    return;
  end if;
  return query
    with decided as materialized (
      select *, clock_timestamp() as attempt, 'stored' as verdict
      from jsonb_to_recordset(items) as i (n int, id uuid, group_id uuid, user_id uuid, sender text,
        subject text, header_from text, rfc_message_id text, size bigint, content_hash bytea, submission_hash bytea,
        storage_ref text, body bytea, smtp_utf8 boolean, eight_bit boolean, dsn_return text, envelope_id text,
        client_address inet, helo text, tls text, correlation_id text, traceparent text, recipients jsonb)
    ), stored as (
      insert into messages (id, group_id, user_id, sender, subject, header_from, rfc_message_id, recipient_count, size,
        content_hash, submission_hash, storage_ref, body, status, next_attempt_at, smtp_utf8, eight_bit, dsn_return,
        envelope_id, client_address, helo, tls, correlation_id, traceparent, enqueued_at)
      select id, group_id, user_id, sender, subject, header_from, rfc_message_id, jsonb_array_length(recipients), size,
        content_hash, submission_hash, storage_ref, body, 'queued', attempt, smtp_utf8, eight_bit,
        dsn_return, envelope_id, client_address, helo, tls, correlation_id, traceparent, clock_timestamp()
      from decided
    ), named as (
      insert into recipients (message_id, position, group_id, address, notify, original_recipient)
      select d.id, r.position, d.group_id, r.value ->> 'a', r.value ->> 'n', r.value ->> 'o'
      from decided d cross join lateral jsonb_array_elements(d.recipients) with ordinality as r (value, position)
    ), rung as (
      insert into queue_entries (group_id, message) select group_id, id from decided where rings
    )
    select n, verdict, null::uuid, null::integer, attempt::text, rings from decided;
end
$$;

select ensure_partitions(3);
