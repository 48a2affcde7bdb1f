-- expand
create table groups (
  id uuid primary key default uuidv7(),
  name text not null unique check (length(name) between 1 and 255),
  group_type text not null default 'company' check (group_type in ('system', 'company')),
  status text not null default 'active' check (status in ('active', 'suspended', 'deleted')),
  monthly_limit integer not null default 10000 check (monthly_limit >= 0),
  allowed_ips cidr[],
  -- The domains its accounts may be given; set by system administrators (ruling 3.14).
  allowed_domains jsonb not null default '[]' check (jsonb_typeof(allowed_domains) = 'array'),
  -- How long bodies are kept where that is shorter than for everybody; nought is at once (ruling 3.15).
  retention_delivered interval check (retention_delivered >= interval '0'),
  retention_failed interval check (retention_failed >= interval '0'),
  -- Raised by every change of its providers, rules, limit or status (ruling 3.19).
  revision bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  check (group_type <> 'system' or status = 'active')
);
create unique index groups_one_system on groups (group_type) where group_type = 'system';

create table users (
  id uuid primary key default uuidv7(),
  email text not null check (length(email) between 3 and 255),
  username text check (length(username) between 1 and 255),
  account_type text not null default 'human' check (account_type in ('human', 'smtp')),
  password_hash text check (length(password_hash) <= 512),
  status text not null default 'active' check (status in ('active', 'suspended', 'deleted')),
  allowed_domains jsonb not null default '[]',
  -- Null: as the setting says.
  bare_line_endings text check (bare_line_endings in ('refuse', 'repair')),
  failed_attempts integer not null default 0 check (failed_attempts >= 0),
  last_login timestamptz,
  -- Raised when a credential that worked may work no longer (ruling 3.17).
  revision bigint not null default 1,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (id, account_type),
  check (account_type <> 'smtp' or username is not null),
  check (account_type <> 'human' or password_hash is not null)
);
create unique index users_email on users (lower(email));
create unique index users_username on users (lower(username));

create table group_members (
  id uuid primary key default uuidv7(),
  group_id uuid not null references groups,
  user_id uuid not null,
  account_type text not null,
  role text not null default 'member' check (role in ('owner', 'admin', 'member')),
  created_at timestamptz not null default now(),
  unique (group_id, user_id),
  foreign key (user_id, account_type) references users (id, account_type) on delete cascade
);
create index group_members_user on group_members (user_id);
-- An SMTP account is in one group at most; the triggers below see to at least one.
create unique index group_members_smtp_once on group_members (user_id) where account_type = 'smtp';

create function require_smtp_membership() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare account uuid;
begin
  if tg_table_name = 'users' then account := new.id; else account := old.user_id; end if;
  if exists (select from users u where u.id = account and u.account_type = 'smtp' and u.status <> 'deleted')
    and not exists (select from group_members m where m.user_id = account) then
    raise exception 'An SMTP account belongs to exactly one group: user % has none', account
      using errcode = 'check_violation', constraint = 'users_smtp_has_group';
  end if;
  return null;
end
$$;
create constraint trigger users_smtp_has_group after insert or update of account_type, status on users
  deferrable initially deferred for each row execute function require_smtp_membership();
create constraint trigger group_members_smtp_stays after delete or update of user_id on group_members
  deferrable initially deferred for each row execute function require_smtp_membership();

-- Whether a user is in no group yet: only then may a group take it by itself (ruling 1.23).
create function user_is_unattached(candidate uuid) returns boolean
  language sql stable security definer set search_path = pg_catalog, public, pg_temp
  return not exists (select from group_members m where m.user_id = candidate);

create table api_keys (
  id uuid primary key default uuidv7(),
  group_id uuid not null,
  user_id uuid not null,
  name text not null check (length(name) between 1 and 255),
  prefix text not null check (length(prefix) between 4 and 32),
  key_hash bytea not null unique check (length(key_hash) = 32),
  scopes text[] not null default '{send}',
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  created_at timestamptz not null default now(),
  foreign key (group_id, user_id) references group_members (group_id, user_id) on delete cascade
);
create index api_keys_user on api_keys (group_id, user_id);
create index api_keys_ended on api_keys (least(revoked_at, expires_at));

create table esp_providers (
  id uuid primary key default uuidv7(),
  group_id uuid not null references groups,
  name text not null check (length(name) between 1 and 255),
  provider_type text not null check (provider_type ~ '^[a-z][a-z0-9_]{0,31}$'),
  settings jsonb not null default '{}' check (jsonb_typeof(settings) = 'object'),
  -- Sealed JSON; the group's and the provider's id are bound into it (ruling 3.16).
  secrets bytea,
  key_id text,
  enabled boolean not null default true,
  -- Whether it may use the operator's own identity in the cloud; given by system administrators (ruling 3.14).
  operator_credentials boolean not null default false,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (group_id, id),
  check ((secrets is null) = (key_id is null))
);

-- What workers learnt of a provider: someone has to repair it, or it rests (rulings 1.9, 3.4).
create table provider_state (
  provider_id uuid primary key,
  group_id uuid not null,
  needs_attention_since timestamptz,
  fault_code text,
  fault_detail text,
  next_probe_at timestamptz,
  updated_at timestamptz not null default now(),
  foreign key (group_id, provider_id) references esp_providers (group_id, id) on delete cascade
);

create table routing_rules (
  id uuid primary key default uuidv7(),
  group_id uuid not null references groups,
  priority integer not null default 0,
  conditions jsonb not null default '{}' check (jsonb_typeof(conditions) = 'object'),
  enabled boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  unique (group_id, id)
);
create index routing_rules_order on routing_rules (group_id, priority, id);

create table routing_rule_providers (
  group_id uuid not null,
  rule_id uuid not null,
  position smallint not null check (position between 1 and 3),
  provider_id uuid not null,
  weight smallint check (weight between 0 and 100),
  primary key (rule_id, position),
  unique (rule_id, provider_id),
  foreign key (group_id, rule_id) references routing_rules (group_id, id) on delete cascade,
  foreign key (group_id, provider_id) references esp_providers (group_id, id) on delete cascade
);
create index routing_rule_providers_provider on routing_rule_providers (group_id, provider_id);

create table usage (
  group_id uuid not null references groups,
  month date not null check (extract(day from month) = 1),
  messages bigint not null default 0 check (messages >= 0),
  primary key (group_id, month)
) with (fillfactor = 50);

create table sessions (
  id uuid primary key default uuidv7(),
  group_id uuid not null,
  user_id uuid not null,
  refresh_token_hash bytea not null unique check (length(refresh_token_hash) = 32),
  expires_at timestamptz not null,
  created_at timestamptz not null default now(),
  foreign key (group_id, user_id) references group_members (group_id, user_id) on delete cascade
);
create index sessions_user on sessions (user_id);
create index sessions_expiry on sessions (expires_at);

create table activity_logs (
  id uuid primary key default uuidv7(),
  -- Null where no group is known: a failed login names none.
  group_id uuid references groups,
  actor_id uuid references users on delete set null,
  action text not null check (length(action) between 1 and 50),
  resource_type text not null check (length(resource_type) between 1 and 50),
  resource_id uuid,
  changes jsonb,
  comment text,
  ip_address inet,
  created_at timestamptz not null default now()
);
create index activity_logs_group on activity_logs (group_id, id desc);
create index activity_logs_group_actor on activity_logs (group_id, actor_id, id desc) where actor_id is not null;
create index activity_logs_group_resource on activity_logs (group_id, resource_id, id desc)
  where resource_id is not null;
-- For operators, who ask across groups.
create index activity_logs_actor on activity_logs (actor_id, id desc) where actor_id is not null;
create index activity_logs_resource on activity_logs (resource_id, id desc) where resource_id is not null;

-- One row per account name tried and address (IPv6 by /64); bounded by its purge (rulings 3.17, 3.23).
create table auth_attempts (
  account text not null check (length(account) <= 255),
  address text not null check (length(address) <= 64),
  failures integer not null default 0,
  failed_at timestamptz,
  succeeded_at timestamptz,
  primary key (account, address)
);
create index auth_attempts_address on auth_attempts (address, failed_at);
create index auth_attempts_age on auth_attempts (greatest(failed_at, succeeded_at));

create function raise_group_revision() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare touched uuid := case when tg_op = 'DELETE' then old.group_id else new.group_id end;
begin
  update groups set revision = revision + 1, updated_at = now() where id = touched;
  return null;
end
$$;
create trigger esp_providers_revision after insert or update or delete on esp_providers
  for each row execute function raise_group_revision();
create trigger routing_rules_revision after insert or update or delete on routing_rules
  for each row execute function raise_group_revision();
create trigger routing_rule_providers_revision after insert or update or delete on routing_rule_providers
  for each row execute function raise_group_revision();

-- The permission was given for the settings that the administrator saw.
create function withdraw_operator_credentials() returns trigger language plpgsql as $$
begin
  new.operator_credentials := false;
  return new;
end
$$;
create trigger esp_providers_permission before update of provider_type, settings on esp_providers for each row
  when ((old.provider_type, old.settings) is distinct from (new.provider_type, new.settings))
  execute function withdraw_operator_credentials();

-- What somebody has changed may work again: the next message shows it, without waiting for a probe.
create function forget_provider_fault() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  update provider_state set needs_attention_since = null, next_probe_at = null, updated_at = clock_timestamp()
  where provider_id = new.id and needs_attention_since is not null;
  return null;
end
$$;
create trigger esp_providers_repaired after update on esp_providers for each row
  when ((old.provider_type, old.settings, old.secrets, old.operator_credentials)
    is distinct from (new.provider_type, new.settings, new.secrets, new.operator_credentials))
  execute function forget_provider_fault();

create function raise_own_revision() returns trigger language plpgsql as $$
begin
  new.revision := old.revision + 1;
  new.updated_at := now();
  return new;
end
$$;
create trigger groups_revision before update of name, status, monthly_limit, allowed_ips, allowed_domains on groups
  for each row execute function raise_own_revision();
create trigger users_revision before update of username, password_hash, status on users
  for each row execute function raise_own_revision();

create function raise_user_revision() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare touched uuid := case when tg_op = 'DELETE' then old.user_id else new.user_id end;
begin
  update users set revision = revision + 1, updated_at = now() where id = touched;
  return null;
end
$$;
create trigger api_keys_revision after update of revoked_at, expires_at, scopes or delete on api_keys
  for each row execute function raise_user_revision();
create trigger group_members_revision after update of group_id, user_id or delete on group_members
  for each row execute function raise_user_revision();
