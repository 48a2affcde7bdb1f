-- expand
-- as login
-- What the API needs before it knows who calls, and to know it: functions of one owner, tables of nobody.
do $$
begin
  begin
    if not exists (select from pg_roles where rolname = 'smtp_proxy_access') then
      create role smtp_proxy_access nologin;
    end if;
  exception when duplicate_object or unique_violation then
    null; -- another database of this cluster created it a moment ago
  end;
end
$$;
grant smtp_proxy_access to smtp_proxy_owner;
grant usage, create on schema public to smtp_proxy_access;
set local role smtp_proxy_owner;

-- A session is a family of refresh tokens: the newest one's hash is kept, an older one's coming back ends it.
alter table sessions
  add column refreshed_at timestamptz not null default now(),
  add column ip_address inet,
  add column user_agent text check (length(user_agent) <= 500);

alter table api_keys add column created_by uuid references users on delete set null;

-- Who acted from another group than the one that was changed (ruling 1.22), and in which request.
alter table activity_logs
  add column actor_group_id uuid references groups,
  add column correlation_id text check (length(correlation_id) <= 64);

-- What an administrator hands over: an invitation into the group, or a new password. Each holds once.
create table one_time_tokens (
  id uuid primary key default uuidv7(),
  group_id uuid not null references groups,
  kind text not null check (kind in ('invitation', 'password_reset')),
  user_id uuid references users on delete cascade,
  email text check (length(email) between 3 and 255),
  role text check (role in ('owner', 'admin', 'member')),
  token_hash bytea not null unique check (length(token_hash) = 32),
  created_by uuid references users on delete set null,
  expires_at timestamptz not null,
  used_at timestamptz,
  created_at timestamptz not null default now(),
  check (case kind when 'invitation' then email is not null and role is not null else user_id is not null end)
);
create index one_time_tokens_group on one_time_tokens (group_id, id desc);
create index one_time_tokens_expiry on one_time_tokens (expires_at);
create index one_time_tokens_user on one_time_tokens (user_id);
create index one_time_tokens_creator on one_time_tokens (created_by);
alter table one_time_tokens enable row level security;
alter table one_time_tokens force row level security;
create policy own_group on one_time_tokens to smtp_proxy_group
  using (group_id = (select current_group_id())) with check (group_id = (select current_group_id()));
create policy every_group on one_time_tokens to smtp_proxy_admin using (true) with check (true);
create policy access_all on one_time_tokens to smtp_proxy_access using (true) with check (true);
create policy access_joins on group_members for insert to smtp_proxy_access with check (true);
grant insert, delete, select (id, group_id, kind, user_id, email, role, created_by, expires_at, used_at, created_at)
  on one_time_tokens to smtp_proxy_group, smtp_proxy_admin;
grant select, delete, update (used_at) on one_time_tokens to smtp_proxy_access;
grant insert on group_members to smtp_proxy_access;

-- The access role sees what it must to answer the functions below, and nothing that is not named here.
create policy access_reads on groups for select to smtp_proxy_access using (true);
create policy access_reads on users for select to smtp_proxy_access using (true);
create policy access_writes on users for update to smtp_proxy_access using (true) with check (true);
create policy access_reads on group_members for select to smtp_proxy_access using (true);
create policy access_all on sessions to smtp_proxy_access using (true) with check (true);
create policy access_reads on api_keys for select to smtp_proxy_access using (true);
create policy access_uses on api_keys for update to smtp_proxy_access using (true) with check (true);
create policy access_counts on auth_attempts to smtp_proxy_access using (true) with check (true);
create policy access_tells on activity_logs for insert to smtp_proxy_access with check (true);
grant select (id, group_type, status, name) on groups to smtp_proxy_access;
grant select (id, email, account_type, status, password_hash, allowed_domains),
  update (password_hash, last_login, failed_attempts, updated_at) on users to smtp_proxy_access;
grant select on group_members to smtp_proxy_access;
grant select, insert, update, delete on sessions to smtp_proxy_access;
grant select, update (last_used_at) on api_keys to smtp_proxy_access;
grant select, insert, update on auth_attempts to smtp_proxy_access;
grant insert on activity_logs to smtp_proxy_access;

-- Counts a try before it is judged, so that many at once are no more than one after another. Answers for how many
-- seconds nobody may try, 0 when this try may go on. An address that has logged in to the account within seven days
-- is held back by its own failures there alone.
create function begin_login(given_account text, given_address text, most integer, lockout_seconds integer)
  returns integer language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare
  since timestamptz := clock_timestamp() - make_interval(secs => lockout_seconds);
  is_known boolean;
  failed bigint;
  last_failure timestamptz;
begin
  perform pg_advisory_xact_lock(hashtextextended('login account ' || given_account, 0));
  perform pg_advisory_xact_lock(hashtextextended('login address ' || given_address, 0));
  select coalesce(a.succeeded_at >= clock_timestamp() - interval '7 days', false) into is_known
    from auth_attempts a where a.account = given_account and a.address = given_address;
  select max(f.total), max(f.latest) into failed, last_failure from (
    select sum(a.failures) as total, max(a.failed_at) as latest from auth_attempts a
      where a.account = given_account and a.failed_at > since
        and (a.address = given_address or not coalesce(is_known, false))
        and (a.address = given_address or a.succeeded_at is null
          or a.succeeded_at < clock_timestamp() - interval '7 days')
    union all
    select sum(a.failures), max(a.failed_at) from auth_attempts a
      where a.address = given_address and a.failed_at > since and not coalesce(is_known, false)) f;
  if coalesce(failed, 0) >= most then
    return greatest(1, ceil(extract(epoch from last_failure - since)))::integer;
  end if;
  insert into auth_attempts as a (account, address, failures, failed_at)
    values (given_account, given_address, 1, clock_timestamp())
    on conflict (account, address) do update set failed_at = excluded.failed_at,
      failures = case when a.failed_at > since then least(a.failures + 1, 1000000) else 1 end;
  return 0;
end
$$;

-- Forgives what the account failed from this address.
create function forgive_login(given_account text, given_address text) returns void
  language sql security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    update auth_attempts set failures = 0, succeeded_at = clock_timestamp()
    where account = given_account and address = given_address;
  end;

-- Whoever has this e-mail address, with the hash of the password.
create function find_login(given_email text)
  returns table (id uuid, email text, account_type text, status text, password_hash text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    select u.id, u.email, u.account_type, u.status, u.password_hash from users u
    where lower(u.email) = lower(given_email) and u.status <> 'deleted';
  end;

-- A user's membership of a group, or of the first active group that the user joined.
create function find_membership(given_user uuid, given_group uuid)
  returns table (group_id uuid, group_type text, group_status text, role text, email text, user_status text)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    select m.group_id, g.group_type, g.status, m.role, u.email, u.status
    from group_members m join groups g on g.id = m.group_id join users u on u.id = m.user_id
    where m.user_id = given_user and (m.group_id = given_group or given_group is null)
    order by g.status = 'active' desc, m.created_at, m.id limit 1;
  end;

-- Opens a session and forgets the oldest beyond twenty of the user, and a few of anybody's that have ended.
create function open_session(new_id uuid, given_user uuid, given_group uuid, hash bytea, ends timestamptz,
    address inet, agent text) returns void
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into sessions (id, group_id, user_id, refresh_token_hash, expires_at, ip_address, user_agent)
    values (new_id, given_group, given_user, hash, ends, address, left(agent, 500));
  update users set last_login = now(), failed_attempts = 0 where id = given_user;
  delete from sessions where id in (
    select s.id from sessions s where s.user_id = given_user order by s.refreshed_at desc, s.id desc offset 20);
  delete from sessions where id in (
    select s.id from sessions s where s.expires_at < now() order by s.expires_at limit 10 for update skip locked);
  delete from one_time_tokens where id in (
    select t.id from one_time_tokens t where t.expires_at < now() order by t.expires_at limit 10
    for update skip locked);
end
$$;

-- Exchanges a refresh token's hash for the next. 'reused' ends the session: its token was known to two.
create function rotate_session(given_id uuid, old_hash bytea, new_hash bytea, ends timestamptz)
  returns text language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare found_session sessions;
begin
  select * into found_session from sessions s where s.id = given_id for update;
  if not found then return 'missing'; end if;
  if found_session.refresh_token_hash <> old_hash then
    delete from sessions where id = given_id;
    return 'reused';
  end if;
  if found_session.expires_at <= now() then
    delete from sessions where id = given_id;
    return 'expired';
  end if;
  update sessions set refresh_token_hash = new_hash, expires_at = ends, refreshed_at = now() where id = given_id;
  return 'rotated';
end
$$;

-- Ends the session of a token; a token that was exchanged before still names its session.
create function end_session(given_id uuid, given_user uuid)
  returns table (group_id uuid) language sql security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    delete from sessions s where s.id = given_id and s.user_id = given_user returning s.group_id;
  end;

-- What the sessions of a batch of requests may do now; sessions that are no more are missing.
create function find_sessions(ids uuid[])
  returns table (id uuid, user_id uuid, group_id uuid, email text, role text, group_type text, is_active boolean)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    select s.id, s.user_id, s.group_id, u.email, m.role, g.group_type,
      u.status = 'active' and g.status = 'active' and u.account_type = 'human'
    from sessions s join users u on u.id = s.user_id join groups g on g.id = s.group_id
      join group_members m on m.group_id = s.group_id and m.user_id = s.user_id
    where s.id = any(ids) and s.expires_at > now();
  end;

-- The same for API keys, by their SHA-256; what was revoked or has ended is no key.
create function find_api_keys(hashes bytea[])
  returns table (id uuid, key_hash bytea, user_id uuid, group_id uuid, email text, group_type text, scopes text[],
    is_active boolean, is_stale boolean)
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    select k.id, k.key_hash, k.user_id, k.group_id, u.email, g.group_type, k.scopes,
      u.status = 'active' and g.status = 'active',
      k.last_used_at is null or k.last_used_at < now() - interval '1 minute'
    from api_keys k join users u on u.id = k.user_id join groups g on g.id = k.group_id
    where k.key_hash = any(hashes) and k.revoked_at is null and (k.expires_at is null or k.expires_at > now());
  end;

create function use_api_keys(ids uuid[]) returns void
  language sql security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    update api_keys set last_used_at = now() where id in (
      select k.id from api_keys k where k.id = any(ids) order by k.id for update skip locked);
  end;

-- Whether a group exists, for administrators who name one (ruling 1.22).
create function find_group_status(given_id uuid) returns text
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  return (select g.status from groups g where g.id = given_id);

-- A hash of today in place of an old one, unless the password was changed meanwhile.
create function upgrade_password(given_user uuid, old_hash text, new_hash text) returns void
  language sql security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    update users set password_hash = new_hash where id = given_user and password_hash = old_hash;
  end;

-- Authentication is told although no group may be known.
create function tell_login(given_group uuid, actor uuid, what text, kind text, thing uuid, details jsonb,
    address inet, correlation text)
  returns void language sql security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    insert into activity_logs (group_id, actor_id, actor_group_id, action, resource_type, resource_id, changes,
      ip_address, correlation_id)
    values (given_group, actor, given_group, what, kind, thing, details, address, correlation);
  end;

-- Whether a user is a member of this transaction's group and of no other, so that the group may decide about it.
create function user_is_ours_alone(candidate uuid) returns boolean
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  return exists (select from group_members m where m.user_id = candidate and m.group_id = current_group_id())
    and not exists (select from group_members m where m.user_id = candidate and m.group_id <> current_group_id());

-- Sets the password of a member who belongs to no other group, and ends the user's sessions but one.
create function set_member_password(target uuid, hash text, keep_session uuid, by_itself boolean) returns boolean
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
begin
  if not (user_is_ours_alone(target) or (by_itself and exists (
    select from group_members m where m.user_id = target and m.group_id = current_group_id()))) then
    return false;
  end if;
  update users set password_hash = hash, updated_at = now() where id = target;
  delete from sessions s where s.user_id = target and s.id is distinct from keep_session;
  return true;
end
$$;

-- The hash of a member's password, for the member's own change of it.
create function find_own_password(target uuid) returns text
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  return (select u.password_hash from users u where u.id = target);

-- Whose password a token of an administrator may set; null when it holds no longer.
create function find_reset(given_hash bytea) returns uuid
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  return (select t.user_id from one_time_tokens t join users u on u.id = t.user_id
    where t.token_hash = given_hash and t.kind = 'password_reset' and t.used_at is null and t.expires_at > now()
      and u.status = 'active');

-- Sets the password by such a token, uses it up and ends the user's sessions; answers the group that handed it over.
create function use_reset(given_hash bytea, new_password text) returns uuid
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
declare token one_time_tokens;
begin
  update one_time_tokens set used_at = now()
    where token_hash = given_hash and kind = 'password_reset' and used_at is null and expires_at > now()
    returning * into token;
  if not found then return null; end if;
  update users set password_hash = new_password, updated_at = now() where id = token.user_id;
  delete from sessions s where s.user_id = token.user_id;
  return token.group_id;
end
$$;

-- Makes the user a member by an invitation that was written to the user's address; no row when it holds no longer. Who
-- is a member already stays what he is, and the invitation stays open.
create function accept_invitation(given_hash bytea, given_user uuid)
  returns table (group_id uuid, role text, membership uuid)
  language plpgsql security definer set search_path = pg_catalog, public, pg_temp as $$
#variable_conflict use_column
declare
  token one_time_tokens;
  made uuid;
begin
  select t.* into token from one_time_tokens t join groups g on g.id = t.group_id
    join users u on u.id = given_user and lower(u.email) = lower(t.email)
    where t.token_hash = given_hash and t.kind = 'invitation' and t.used_at is null and t.expires_at > now()
      and g.status = 'active' and u.account_type = 'human' and u.status = 'active'
    for update of t;
  if not found then return; end if;
  insert into group_members (group_id, user_id, account_type, role)
    values (token.group_id, given_user, 'human', token.role) on conflict (group_id, user_id) do nothing
    returning id into made;
  if made is not null then
    update one_time_tokens set used_at = now() where id = token.id;
  end if;
  return query select token.group_id, token.role, made;
end
$$;

-- A password reset was handed over for the user as he was: with other memberships, another role or another password
-- since then it would give more away than its administrator may have. What somebody handed over for a group holds no
-- longer than he is in it as what he was; an operator's, than he is one.
create function withdraw_tokens() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  touched uuid;
  left_group uuid;
  is_out boolean := false;
begin
  if tg_table_name = 'users' then
    touched := new.id;
    is_out := new.status <> 'active';
  elsif tg_op = 'INSERT' then
    touched := new.user_id;
  else
    touched := old.user_id;
    left_group := old.group_id;
  end if;
  delete from one_time_tokens t where t.used_at is null and (
    t.user_id = touched and t.kind = 'password_reset' or t.created_by = touched and (is_out or t.group_id = left_group
      or exists (select from groups g where g.id = left_group and g.group_type = 'system')));
  return null;
end
$$;
create trigger users_withdraw after update of password_hash, status on users for each row
  when ((old.password_hash, old.status) is distinct from (new.password_hash, new.status))
  execute function withdraw_tokens();
create trigger group_members_withdraw after insert or delete or update of role on group_members for each row
  execute function withdraw_tokens();
alter function withdraw_tokens() owner to smtp_proxy_access;

-- Ends every session of a user whose standing changed; administrators see no sessions themselves.
create function end_user_sessions(target uuid) returns bigint
  language sql security definer set search_path = pg_catalog, public, pg_temp
  begin atomic
    with gone as (delete from sessions s where s.user_id = target returning 1) select count(*) from gone;
  end;

do $$
declare signature text;
begin
  foreach signature in array array[
    'begin_login(text, text, integer, integer)', 'forgive_login(text, text)', 'find_login(text)',
    'find_membership(uuid, uuid)', 'open_session(uuid, uuid, uuid, bytea, timestamptz, inet, text)',
    'rotate_session(uuid, bytea, bytea, timestamptz)', 'end_session(uuid, uuid)', 'find_sessions(uuid[])',
    'find_api_keys(bytea[])', 'use_api_keys(uuid[])', 'find_group_status(uuid)',
    'upgrade_password(uuid, text, text)', 'tell_login(uuid, uuid, text, text, uuid, jsonb, inet, text)',
    'user_is_ours_alone(uuid)', 'set_member_password(uuid, text, uuid, boolean)', 'find_own_password(uuid)',
    'end_user_sessions(uuid)', 'find_reset(bytea)', 'use_reset(bytea, text)', 'accept_invitation(bytea, uuid)',
    'withdraw_tokens()'
  ] loop
    execute format('alter function %s owner to smtp_proxy_access', signature);
    execute format('revoke execute on function %s from public', signature);
    if signature !~ '^(user_is_ours_alone|set_member_password|end_user_sessions|withdraw_tokens)' then
      execute format('grant execute on function %s to smtp_proxy_login', signature);
    end if;
  end loop;
end
$$;
grant execute on function current_group_id() to smtp_proxy_access;
grant execute on function user_is_ours_alone(uuid), set_member_password(uuid, text, uuid, boolean)
  to smtp_proxy_group;
grant execute on function end_user_sessions(uuid) to smtp_proxy_admin;
grant execute on function use_api_keys(uuid[]) to smtp_proxy_intake;

-- Administrators give accounts of any group their first key, and cancel what a deleted group still has in the queue.
grant update (allowed_ips, retention_delivered, retention_failed) on groups to smtp_proxy_group;
create policy every_group on api_keys to smtp_proxy_admin using (true) with check (true);
grant insert, update (revoked_at), select (id, group_id, user_id, name, prefix, scopes, expires_at, revoked_at,
  last_used_at, created_at) on api_keys to smtp_proxy_admin;
grant select (refreshed_at, ip_address, user_agent) on sessions to smtp_proxy_group;
grant update (status, failure_code, next_attempt_at, processed_at) on messages to smtp_proxy_admin;
grant update (status, failure_code, next_attempt_at, updated_at), select on recipients to smtp_proxy_admin;
create policy cancels on messages for update to smtp_proxy_admin using (true) with check (status = 'cancelled');
create policy cancels_reads on recipients for select to smtp_proxy_admin using (true);
create policy cancels on recipients for update to smtp_proxy_admin using (true) with check (status = 'cancelled');
