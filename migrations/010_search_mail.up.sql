-- expand
-- as login
-- Messages are looked for by functions of one owner, because no search may be pushed below row-level security: as the
-- group role each would read all of the group's messages (ruling 3.9).
grant smtp_proxy_search to smtp_proxy_owner;
grant usage, create on schema public to smtp_proxy_search;
set local role smtp_proxy_owner;

-- What a text is looked for by in one group, whatever its case. The group is part of the number, so that entries of the
-- indexes are short and are compared as numbers; whose a message is, is seen at the message.
create function search_key(own uuid, words text) returns bigint language sql immutable parallel safe
  return hashtextextended(lower(words), uuid_hash_extended(own, 0));

-- A Message-ID, with or without its brackets.
create function message_id_key(own uuid, given text) returns bigint language sql immutable parallel safe
  return hashtextextended(btrim(given, '<> '), uuid_hash_extended(own, 0));

-- Written once for each message: in `messages` every index would get an entry for each change of status.
create table message_search (
  message_id uuid not null,
  sender bigint not null,
  subject bigint,
  rfc_message_id bigint
) partition by range (message_id);
create index message_search_sender on message_search (sender, message_id);
create index message_search_subject on message_search (subject, message_id) where subject is not null;
create index message_search_rfc on message_search (rfc_message_id, message_id) where rfc_message_id is not null;

-- Up, although lists go down: new ids are the highest, and a page that is filled at its end is not left half empty.
-- By status; what is being sent at this moment is little, and is found by its claims.
create index messages_status on messages (group_id, status, id) where status <> 'processing';
create index messages_provider on messages (group_id, provider_id, id) where provider_id is not null;

-- Its weeks come and go with those of the messages.
do $$
declare
  old text;
  new text;
begin
  for old, new in values
    (pg_get_functiondef('ensure_partitions(integer)'::regprocedure), '''messages'', ''message_search'', ''recipients'''),
    (pg_get_functiondef('drop_week(text, integer)'::regprocedure), '''message_search'', ''delivery_events''')
  loop
    new := replace(replace(old, 'array[''messages'', ''recipients''', 'array[' || new),
      'array[''delivery_events''', 'array[' || new);
    if new = old then
      raise exception 'Cannot add message_search to the weeks: the function is not the one expected';
    end if;
    execute new;
  end loop;
end
$$;
select ensure_partitions(3);

alter table messages no force row level security;
insert into message_search (message_id, sender, subject, rfc_message_id)
  select id, search_key(group_id, sender), search_key(group_id, subject), message_id_key(group_id, rfc_message_id)
  from messages;
alter table messages force row level security;

create function index_messages() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into message_search (message_id, sender, subject, rfc_message_id)
    select n.id, search_key(n.group_id, n.sender), search_key(n.group_id, n.subject),
      message_id_key(n.group_id, n.rfc_message_id)
    from new_messages n;
  return null;
end
$$;
create trigger messages_indexed after insert on messages referencing new table as new_messages
  for each statement execute function index_messages();
-- Also for what is copied from another database.
alter table messages enable always trigger messages_indexed;

alter table message_search enable row level security;
alter table message_search force row level security;
create policy trigger_indexes on message_search for insert to smtp_proxy_trigger with check (true);
create policy search_reads on message_search for select to smtp_proxy_search using (true);
create policy search_reads on messages for select to smtp_proxy_search using (true);
create policy search_reads on recipients for select to smtp_proxy_search using (true);
grant insert on message_search to smtp_proxy_trigger;
grant select on message_search to smtp_proxy_search;
grant select (id, group_id, status, claimed_until, failure_code, sender, subject, rfc_message_id, provider_id)
  on messages to smtp_proxy_search;
grant select (group_id, message_id, address_lower) on recipients to smtp_proxy_search;

-- Ids of the group's messages below `before` and not below `oldest` that all that is not null holds for, newest first.
-- Without a match for a full page it looks at 2,000 messages at most: a last row that is no match says where to go on.
-- A subject is looked for as a whole everywhere, and as a part among the 300 newest messages from `newest` on down.
-- The status `dead` is both of a dead letter's.
create function find_messages(before uuid, oldest uuid, newest uuid, page integer, by_status text, by_sender text,
    by_recipient text, by_subject text, by_message_id text, by_provider uuid, by_failure text)
  returns table (id uuid, is_match boolean) language plpgsql stable security definer
  set search_path = pg_catalog, public, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off
  set enable_hashjoin = off set enable_mergejoin = off set enable_bitmapscan = off set enable_sort = off
  set enable_incremental_sort = off as $$
#variable_conflict use_column
-- `offset 0` keeps each message's row from being joined before it was found, and without sorting every search goes along
-- an index in the order of its answer, however few rows the planner expects. Rows are compared as a whole, which no
-- other index than the one that begins with the group serves: where there are few groups, reading all of them and leaving
-- out the others would look as cheap.
declare
  own constant uuid := current_group_id();
  statuses constant text[] := case by_status when 'dead' then '{failed,storage_error}' else array[by_status] end;
  most integer := page;
  words constant text := lower(by_subject);
  is_found_by_subject constant boolean := by_subject is not null
    and num_nonnulls(by_message_id, by_recipient, by_sender) = 0;
  lately uuid;
  candidates refcursor;
  c record;
  seen integer := 0;
  matched integer := 0;
  last uuid;
begin
  if own is null then
    raise exception 'Cannot search messages: no group is set' using errcode = 'insufficient_privilege';
  end if;
  if page not between 1 and 1000 then
    raise exception 'Cannot search messages: a page has 1 to 1000, current value is %', page;
  end if;
  if num_nonnulls(by_status, by_sender, by_recipient, by_subject, by_message_id, by_provider, by_failure) > 1
    or by_status = 'processing' then
    most := 2000;
  end if;
  -- Where the subject is looked for among what something else has found.
  if by_subject is not null and not is_found_by_subject then
    select l.id into lately from (
      select m.id from messages m
      where (m.group_id, m.id) < (own, newest) and (m.group_id, m.id) >= (own, oldest)
        and m.id < newest and m.id >= oldest
      order by m.group_id desc, m.id desc limit 300) l order by l.id limit 1;
  end if;
  if by_message_id is not null then
    open candidates for
      select m.* from message_search s cross join lateral (
        select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id from messages m
        where m.id = s.message_id and m.group_id = own and m.id < before and m.id >= oldest offset 0) m
      where s.rfc_message_id = message_id_key(own, by_message_id) and s.message_id < before
        and s.message_id >= oldest
      order by s.message_id desc limit most;
  elsif by_recipient is not null then
    open candidates for
      select m.* from recipients r cross join lateral (
        select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id from messages m
        where m.id = r.message_id and m.id < before and m.id >= oldest offset 0) m
      where (r.group_id, r.address_lower, r.message_id) < (own, lower(by_recipient), before)
        and (r.group_id, r.address_lower, r.message_id) >= (own, lower(by_recipient), oldest)
      order by r.group_id desc, r.address_lower desc, r.message_id desc limit most;
  elsif by_sender is not null then
    open candidates for
      select m.* from message_search s cross join lateral (
        select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id from messages m
        where m.id = s.message_id and m.group_id = own and m.id < before and m.id >= oldest offset 0) m
      where s.sender = search_key(own, by_sender) and s.message_id < before
        and s.message_id >= oldest
      order by s.message_id desc limit most;
  elsif by_subject is not null then
    open candidates for
      select m.* from (
        (select s.message_id from message_search s
          where s.subject = search_key(own, by_subject) and s.message_id < before and s.message_id >= oldest
          order by s.message_id desc limit most)
        union
        (select l.id from (
            select p.id, p.subject from messages p
            where (p.group_id, p.id) < (own, newest) and (p.group_id, p.id) >= (own, oldest)
              and p.id < newest and p.id >= oldest
            order by p.group_id desc, p.id desc limit 300) l
          where l.id < before and strpos(lower(l.subject), words) > 0)
      ) f cross join lateral (
        select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id from messages m
        where m.id = f.message_id and m.group_id = own and m.id < before and m.id >= oldest offset 0) m
      order by f.message_id desc limit most;
  elsif by_provider is not null then
    open candidates for
      select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id
      from messages m
      where (m.group_id, m.provider_id, m.id) < (own, by_provider, before)
        and (m.group_id, m.provider_id, m.id) >= (own, by_provider, oldest)
        and m.provider_id is not null
      order by m.group_id desc, m.provider_id desc, m.id desc limit most;
  elsif by_status = 'processing' then
    -- As many as are being sent at this moment, of all groups: no other condition, so that no other index is read.
    open candidates for
      with busy as materialized (
        select m.id, m.group_id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id
        from messages m where m.status = 'processing' and m.claimed_until > '-infinity'
      )
      select b.id, b.status, b.failure_code, b.sender, b.subject, b.rfc_message_id, b.provider_id
      from busy b where b.group_id = own and b.id < before and b.id >= oldest
      order by b.id desc limit most;
  elsif by_status = 'dead' then
    open candidates for
      select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id
      from messages m
      where (m.group_id, m.id) < (own, before) and (m.group_id, m.id) >= (own, oldest)
        and m.status in ('failed', 'storage_error') and m.id < before and m.id >= oldest
      order by m.group_id desc, m.id desc limit most;
  elsif by_status is not null then
    open candidates for
      select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id
      from messages m
      where (m.group_id, m.status, m.id) < (own, by_status, before)
        and (m.group_id, m.status, m.id) >= (own, by_status, oldest)
        and m.status <> 'processing'
      order by m.group_id desc, m.status desc, m.id desc limit most;
  else
    open candidates for
      select m.id, m.status, m.failure_code, m.sender, m.subject, m.rfc_message_id, m.provider_id
      from messages m
      where (m.group_id, m.id) < (own, before) and (m.group_id, m.id) >= (own, oldest)
        and m.id < before and m.id >= oldest
      order by m.group_id desc, m.id desc limit most;
  end if;
  while matched < page loop
    fetch candidates into c;
    exit when c.id is null;
    seen := seen + 1;
    -- The same address twice, in two cases of letters.
    continue when c.id = last;
    last := c.id;
    continue when by_status is not null and c.status <> all(statuses)
      or by_failure is not null and c.failure_code is distinct from by_failure
      or by_sender is not null and lower(c.sender) <> lower(by_sender)
      or by_provider is not null and c.provider_id is distinct from by_provider
      or by_message_id is not null
        and btrim(c.rfc_message_id, '<> ') is distinct from btrim(by_message_id, '<> ')
      or by_subject is not null and not coalesce(lower(c.subject) = words
        or (is_found_by_subject or c.id >= lately) and strpos(lower(c.subject), words) > 0, false)
      or by_recipient is not null and by_message_id is not null and not exists (
        select from recipients r
        where r.group_id = own and r.address_lower = lower(by_recipient) and r.message_id = c.id);
    matched := matched + 1;
    id := c.id;
    is_match := true;
    return next;
  end loop;
  close candidates;
  if matched < page and seen >= most then
    id := last;
    is_match := false;
    return next;
  end if;
end
$$;

revoke execute on function search_key(uuid, text), message_id_key(uuid, text), index_messages(),
  find_messages(uuid, uuid, uuid, integer, text, text, text, text, text, uuid, text) from public;
grant execute on function search_key(uuid, text), message_id_key(uuid, text) to smtp_proxy_search, smtp_proxy_trigger;
alter function index_messages() owner to smtp_proxy_trigger;
alter function find_messages(uuid, uuid, uuid, integer, text, text, text, text, text, uuid, text)
  owner to smtp_proxy_search;
grant execute on function find_messages(uuid, uuid, uuid, integer, text, text, text, text, text, uuid, text)
  to smtp_proxy_group;

-- Who sends dead letters again: each recipient begins anew, as does the message's time to live. The doorbells ring as the
-- operator, who may know of other groups what a doorbell tells.
alter table messages add column requeued_at timestamptz;
grant update (requeued_at) on messages to smtp_proxy_group;
grant update (attempts, wait_cause) on recipients to smtp_proxy_group;
grant insert, select (id, group_id) on queue_entries to smtp_proxy_admin;
