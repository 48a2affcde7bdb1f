-- expand
-- Who may see and do what (ruling 3.8). Rights across groups are policies for one role and one verb; no role
-- bypasses row-level security, and the owner is bound by it like everybody else.

do $$
declare name text;
begin
  foreach name in array array[
    'groups', 'users', 'group_members', 'api_keys', 'esp_providers', 'provider_state', 'routing_rules',
    'routing_rule_providers', 'usage', 'sessions', 'activity_logs', 'auth_attempts', 'messages', 'recipients',
    'delivery_logs', 'delivery_events'
  ] loop
    execute format('alter table %I enable row level security', name);
    execute format('alter table %I force row level security', name);
  end loop;
  -- Tables with a group_id: the group role sees and writes the rows of its group alone.
  foreach name in array array[
    'api_keys', 'esp_providers', 'provider_state', 'routing_rules', 'routing_rule_providers', 'usage', 'sessions',
    'activity_logs', 'messages', 'recipients', 'delivery_logs', 'delivery_events'
  ] loop
    execute format('create policy own_group on %I to smtp_proxy_group
      using (group_id = (select current_group_id())) with check (group_id = (select current_group_id()))', name);
  end loop;
end
$$;

-- The group role (API, per transaction).
create policy own_group on groups to smtp_proxy_group
  using (id = (select current_group_id())) with check (id = (select current_group_id()));
create policy own_group on group_members to smtp_proxy_group using (group_id = (select current_group_id()))
  with check (group_id = (select current_group_id()));
-- Knowing a user's id is not enough to take the user into one's group (ruling 1.23).
create policy free_users_only on group_members as restrictive for insert to smtp_proxy_group
  with check (user_is_unattached(user_id));
create policy members_only on users to smtp_proxy_group using (exists (
  select from group_members m where m.user_id = users.id and m.group_id = (select current_group_id())))
  with check (exists (
    select from group_members m where m.user_id = users.id and m.group_id = (select current_group_id())));
-- A user is made before its membership, in one transaction; nobody can see it in between.
create policy new_users on users for insert to smtp_proxy_group with check ((select current_group_id()) is not null);

grant select, update (name, updated_at) on groups to smtp_proxy_group;
grant select (id, email, username, account_type, status, allowed_domains, bare_line_endings, last_login, revision,
  created_at, updated_at), insert, update (email, username, status, allowed_domains, bare_line_endings, updated_at)
  on users to smtp_proxy_group;
grant select, insert, delete, update (role) on group_members to smtp_proxy_group;
-- The hashes of what people hold are for those who compare them.
grant select (id, group_id, user_id, name, prefix, scopes, expires_at, revoked_at, last_used_at, created_at), insert,
  delete, update (name, scopes, expires_at, revoked_at) on api_keys to smtp_proxy_group;
grant select, insert, update, delete on routing_rules, routing_rule_providers to smtp_proxy_group;
grant select, delete, insert (id, group_id, name, provider_type, settings, secrets, key_id, enabled),
  update (name, provider_type, settings, secrets, key_id, enabled, updated_at) on esp_providers to smtp_proxy_group;
grant select on provider_state, usage, recipients, delivery_logs, delivery_events to smtp_proxy_group;
grant update (status, failure_code, next_attempt_at, updated_at) on recipients to smtp_proxy_group;
grant select (id, group_id, user_id, expires_at, created_at), delete on sessions to smtp_proxy_group;
grant select, insert on activity_logs to smtp_proxy_group;
grant select, update (status, failure_code, next_attempt_at, claims, rings, ring_after, processed_at) on messages
  to smtp_proxy_group;

-- System administrators.
create policy every_group on groups to smtp_proxy_admin using (true) with check (true);
create policy every_group on users to smtp_proxy_admin using (true) with check (true);
create policy every_group on group_members to smtp_proxy_admin using (true) with check (true);
create policy every_group on usage to smtp_proxy_admin using (true) with check (true);
create policy every_group on activity_logs to smtp_proxy_admin using (true) with check (true);
create policy every_group on messages for select to smtp_proxy_admin using (true);
-- Which keys are still needed, and by whom; what is sealed stays the group's.
create policy every_group on esp_providers for select to smtp_proxy_admin using (true);
create policy operator_allows on esp_providers for update to smtp_proxy_admin using (true) with check (true);
grant select (id, group_id, key_id, operator_credentials), update (operator_credentials) on esp_providers
  to smtp_proxy_admin;
grant select, insert, update on groups, usage to smtp_proxy_admin;
-- A password is set by whoever administers, and read by nobody: functions compare it.
grant select (id, email, username, account_type, status, allowed_domains, bare_line_endings, failed_attempts, last_login,
  revision, created_at, updated_at), insert, update on users to smtp_proxy_admin;
grant select, insert, update, delete on group_members to smtp_proxy_admin;
grant select, insert on activity_logs to smtp_proxy_admin;
grant select on messages to smtp_proxy_admin;

-- smtp-server.
create policy intake_reads on groups for select to smtp_proxy_intake using (true);
create policy intake_reads on users for select to smtp_proxy_intake using (true);
create policy intake_reads on group_members for select to smtp_proxy_intake using (true);
create policy intake_reads on api_keys for select to smtp_proxy_intake using (true);
create policy intake_reads on usage for select to smtp_proxy_intake using (true);
create policy intake_charges on usage for insert to smtp_proxy_intake with check (true);
create policy intake_adds on usage for update to smtp_proxy_intake using (true) with check (true);
create policy intake_counts on auth_attempts to smtp_proxy_intake using (true) with check (true);
create policy intake_reads on messages for select to smtp_proxy_intake using (true);
create policy intake_stores on messages for insert to smtp_proxy_intake with check (status = 'queued');
create policy intake_stores on recipients for insert to smtp_proxy_intake with check (status = 'pending');
-- A doorbell that failed, and a resubmission that revives (ruling 3.3).
create policy intake_unrings on messages for update to smtp_proxy_intake
  using (status in ('queued', 'enqueue_failed')) with check (status in ('queued', 'enqueue_failed'));
grant select (id, name, status, monthly_limit, allowed_domains, allowed_ips, revision) on groups to smtp_proxy_intake;
grant select (id, username, password_hash, account_type, status, allowed_domains, bare_line_endings, revision)
  on users to smtp_proxy_intake;
grant select (group_id, user_id) on group_members to smtp_proxy_intake;
grant select (id, group_id, user_id, key_hash, scopes, expires_at, revoked_at) on api_keys to smtp_proxy_intake;
grant select, insert, update (messages) on usage to smtp_proxy_intake;
grant select, insert, update, delete on auth_attempts to smtp_proxy_intake;
grant select (id, group_id, status, content_hash, submission_hash, enqueued_at, claim, claims, attempts,
  next_attempt_at, processed_at, body_removed_at), insert, update (status, next_attempt_at, processed_at) on messages
  to smtp_proxy_intake;
grant insert on recipients to smtp_proxy_intake;
grant execute on function ensure_partitions(integer) to smtp_proxy_intake, smtp_proxy_worker;

-- queue-worker.
create policy worker_reads on groups for select to smtp_proxy_worker using (true);
create policy worker_reads on esp_providers for select to smtp_proxy_worker using (true);
create policy worker_marks on provider_state to smtp_proxy_worker using (true) with check (true);
create policy worker_reads on routing_rules for select to smtp_proxy_worker using (true);
create policy worker_reads on routing_rule_providers for select to smtp_proxy_worker using (true);
create policy worker_reads on messages for select to smtp_proxy_worker using (true);
create policy worker_moves on messages for update to smtp_proxy_worker using (true) with check (true);
create policy worker_reads on recipients for select to smtp_proxy_worker using (true);
create policy worker_moves on recipients for update to smtp_proxy_worker using (true) with check (true);
create policy worker_logs on delivery_logs to smtp_proxy_worker using (true) with check (true);
create policy worker_tells on delivery_events for insert to smtp_proxy_worker with check (true);
create policy worker_tells on activity_logs for insert to smtp_proxy_worker with check (actor_id is null);
-- What happened a while ago is purged; nobody takes back by this role what he has just done.
create policy worker_looks on activity_logs for select to smtp_proxy_worker
  using (created_at < now() - interval '1 day');
create policy worker_purges on activity_logs for delete to smtp_proxy_worker
  using (created_at < now() - interval '1 day');
create policy worker_looks on api_keys for select to smtp_proxy_worker
  using (least(revoked_at, expires_at) < now() - interval '1 day');
create policy worker_purges on api_keys for delete to smtp_proxy_worker
  using (least(revoked_at, expires_at) < now() - interval '1 day');
create policy worker_purges on auth_attempts for delete to smtp_proxy_worker using (true);
create policy worker_looks on auth_attempts for select to smtp_proxy_worker using (true);
grant select (id, status, revision, retention_delivered, retention_failed) on groups to smtp_proxy_worker;
grant select on esp_providers, routing_rules, routing_rule_providers to smtp_proxy_worker;
grant select, insert, update, delete on provider_state to smtp_proxy_worker;
grant update (body, body_removed_at) on messages to smtp_proxy_worker;
grant select, update (status, failure_code, claim, claimed_by, claimed_until, claims, attempts, next_attempt_at,
  ring_after, rings, provider_id, processed_at) on messages to smtp_proxy_worker;
grant select, update (status, failure_code, attempts, next_attempt_at, wait_cause, fault_code, fault_detail, call_id,
  updated_at) on recipients to smtp_proxy_worker;
grant select, insert, update on delivery_logs to smtp_proxy_worker;
grant insert on delivery_events, activity_logs to smtp_proxy_worker;
grant select (id), delete on activity_logs to smtp_proxy_worker;
grant select (id, revoked_at, expires_at), delete on api_keys to smtp_proxy_worker;
grant select (account, address, failed_at, succeeded_at), delete on auth_attempts to smtp_proxy_worker;
grant usage on sequence message_claims to smtp_proxy_worker;
grant select, insert, update on queue_state, workers to smtp_proxy_worker;
grant delete on workers to smtp_proxy_worker;

-- Triggers that write for whoever changed a row, and see no more than they need.
create policy trigger_raises on groups to smtp_proxy_trigger using (true) with check (true);
create policy trigger_raises on users to smtp_proxy_trigger using (true) with check (true);
create policy trigger_looks on group_members for select to smtp_proxy_trigger using (true);
grant select (id, revision), update (revision, updated_at) on groups to smtp_proxy_trigger;
grant select (id, account_type, status, revision), update (revision, updated_at) on users to smtp_proxy_trigger;
grant select (user_id) on group_members to smtp_proxy_trigger;
create policy trigger_clears on provider_state to smtp_proxy_trigger using (true) with check (true);
grant select (provider_id, needs_attention_since), update (needs_attention_since, next_probe_at, updated_at)
  on provider_state to smtp_proxy_trigger;
alter function forget_provider_fault() owner to smtp_proxy_trigger;
alter function require_smtp_membership() owner to smtp_proxy_trigger;
alter function user_is_unattached(uuid) owner to smtp_proxy_trigger;
alter function raise_group_revision() owner to smtp_proxy_trigger;
alter function raise_user_revision() owner to smtp_proxy_trigger;

-- Until when the body of a message is kept; null is for ever, or until it is finished (ruling 3.15).
create function body_kept_until(status text, ended timestamptz, own_delivered interval, own_failed interval,
  delivered interval, failed interval, unanswered interval) returns timestamptz language sql stable
  return ended + case
    when status in ('delivered', 'cancelled') then least(own_delivered, delivered)
    when status in ('failed', 'storage_error') then least(own_failed, failed)
    when status = 'enqueue_failed' then unanswered end;

-- One step towards dropping a week of messages that are finished and have no body: first what belongs to them, then
-- their rows in portions, then the week itself; what it did, or `kept` while somebody still works on one of them. It
-- waits for its locks for a moment only, and holds them no longer, because everybody waits behind it.
create function drop_week(week text, portion integer) returns text language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp set lock_timeout = '200ms' set enable_seqscan = off as $$
declare
  rows_of regclass := to_regclass(quote_ident('messages_' || week));
  until uuid;
  part text;
  is_left boolean;
  removed integer;
begin
  select message_week_end(c.oid) into until from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.messages'::regclass and c.oid = rows_of;
  if until is null or until > first_uuid_at(now() - interval '1 day') then
    raise exception 'Cannot drop week %: it is no week of messages or too young', week;
  end if;
  if to_regclass(quote_ident('recipients_' || week)) is not null then
    execute format('lock table %s in access exclusive mode', rows_of);
    -- The owner, too, sees rows by a policy alone, and there is none for it.
    execute format('alter table %s no force row level security', rows_of);
    execute format('select exists (select from %1$s where status = ''queued'')
      or exists (select from %1$s where status = ''processing'')', rows_of) into is_left;
    if is_left then
      execute format('alter table %s force row level security', rows_of);
      return 'kept';
    end if;
    foreach part in array array['delivery_events', 'delivery_logs', 'recipients'] loop
      execute format('drop table if exists %I', part || '_' || week);
    end loop;
    return 'parts';
  end if;
  execute format('delete from %1$s where ctid = any (array(select ctid from %1$s where body_removed_at is not null
    and status not in (''queued'', ''processing'') limit %2$s))', rows_of, portion);
  get diagnostics removed = row_count;
  if removed > 0 then
    return 'rows';
  end if;
  execute format('select exists (select from %s)', rows_of) into is_left;
  if is_left then
    return 'kept';
  end if;
  execute format('alter table messages detach partition %s', rows_of);
  execute format('drop table %s', rows_of);
  return 'week';
end
$$;

-- The first id that a partition of messages is too old for.
create function message_week_end(part oid) returns uuid language sql stable
  return (select substring(pg_get_expr(c.relpartbound, c.oid) from 'TO \(''([0-9a-f-]{36})''\)')::uuid
    from pg_class c where c.oid = part);

revoke execute on all functions in schema public from public;
grant execute on function current_group_id() to smtp_proxy_group, smtp_proxy_search;
grant execute on function user_is_unattached(uuid) to smtp_proxy_group;
grant execute on function find_submission(uuid, bytea, uuid, uuid), store_messages_one_by_one(jsonb, uuid, uuid),
  store_messages(jsonb, uuid[], integer[], bytea[], uuid, uuid, boolean), submitted(bytea[], uuid, uuid) to smtp_proxy_intake;
grant execute on function first_uuid_at(timestamptz) to
  smtp_proxy_group, smtp_proxy_admin, smtp_proxy_intake, smtp_proxy_worker;
grant execute on function body_kept_until(text, timestamptz, interval, interval, interval, interval, interval),
  drop_week(text, integer), message_week_end(oid) to smtp_proxy_worker;
