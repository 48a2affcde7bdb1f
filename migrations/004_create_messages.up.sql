-- expand
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
  recipient_count integer not null check (recipient_count > 0),
  size bigint not null check (size >= 0),
  content_hash bytea not null check (length(content_hash) = 32),
  -- Account, envelope, Message-ID and content; null when the client gave no Message-ID (ruling 3.3, resubmission).
  submission_hash bytea,
  storage_ref text not null check (storage_ref = 'inline' or storage_ref like 'local:_%' or storage_ref like 's3:_%'),
  body bytea,
  body_removed_at timestamptz,
  status text not null default 'queued' check (
    status in ('queued', 'processing', 'delivered', 'failed', 'enqueue_failed', 'storage_error', 'cancelled')),
  failure_code text check (
    failure_code in ('refused', 'exhausted', 'expired', 'unknown', 'crashed', 'cancelled', 'restored')),
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
  dsn_return text check (dsn_return in ('FULL', 'HDRS')),
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
  position smallint not null check (position > 0),
  group_id uuid not null,
  address varchar(320) not null,
  address_lower text collate "C" generated always as (lower(address)) stored,
  notify varchar(64),
  original_recipient varchar(600),
  status text not null default 'pending' check (
    status in ('pending', 'accepted', 'delivered', 'deferred', 'bounced', 'complained', 'refused', 'suppressed',
      'failed', 'unknown', 'cancelled')),
  failure_code text check (
    failure_code in ('refused', 'exhausted', 'expired', 'unknown', 'crashed', 'cancelled', 'restored')),
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
create index recipients_address on recipients (group_id, address_lower, message_id desc);

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
  status text not null check (status in ('started', 'delivered', 'partial', 'failed', 'unknown')),
  attempt_number smallint not null default 1,
  -- What became of each recipient that was not simply accepted: {"2": {"kind": "refused", "code": "smtp_550"}}
  outcomes jsonb,
  response_code integer,
  response_body varchar(2000),
  esp_code varchar(100),
  request_id varchar(255),
  last_error varchar(600),
  duration_ms integer check (duration_ms >= 0),
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

-- The latest message that stands for a submission. One that no worker has had yet is its sender's again, due now under
-- the attempt answered; whoever rang for it before may no longer give it up. A function, so that it sees what was
-- committed while its caller waited for the group's lock.
create function find_submission(of_group uuid, hash bytea, oldest uuid, newest uuid)
  returns table (id uuid, status text, attempt timestamptz) language plpgsql strict
  set search_path = pg_catalog, public, pg_temp as $$
declare
  is_free boolean;
begin
  select m.id, m.status, m.status = 'queued' and m.claim is null into find_submission.id, find_submission.status, is_free
  from messages m
  where m.submission_hash = hash and m.id between oldest and newest
    -- As text, so that no plan reads the group's messages one by one instead of asking the hash's index.
    and m.group_id::text = of_group::text
    and m.status in ('queued', 'processing', 'delivered', 'enqueue_failed')
  order by m.id::text desc limit 1;
  if not found then
    return;
  end if;
  if is_free then
    update messages m set next_attempt_at = clock_timestamp()
    where m.id = find_submission.id and case m.status when 'queued' then m.claim is null else false end
    returning m.next_attempt_at into attempt;
  end if;
  return next;
end
$$;

select ensure_partitions(3);
