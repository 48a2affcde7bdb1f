-- expand
-- as login
-- Roles belong to the cluster: created when absent, never dropped by `down` (ruling 3.8).
do $$
declare name text;
begin
  foreach name in array array[
    'smtp_proxy_owner', 'smtp_proxy_group', 'smtp_proxy_login', 'smtp_proxy_admin', 'smtp_proxy_intake',
    'smtp_proxy_worker', 'smtp_proxy_search', 'smtp_proxy_trigger'
  ] loop
    begin
      if not exists (select from pg_roles where rolname = name) then
        execute format('create role %I nologin', name);
      end if;
    exception when duplicate_object or unique_violation then
      null; -- another database of this cluster created it a moment ago
    end;
  end loop;
  if not (select rolsuper from pg_roles where rolname = current_user) then
    execute format('grant smtp_proxy_owner to %I', current_user);
  end if;
  execute format('grant create on database %I to smtp_proxy_owner', current_database());
  -- Nobody here needs temporary tables, and one that is named like a table of ours could stand before it.
  execute format('revoke temporary on database %I from public', current_database());
end
$$;

grant smtp_proxy_trigger to smtp_proxy_owner;
grant usage, create on schema public to smtp_proxy_owner with grant option;
grant usage, create on schema public to smtp_proxy_trigger;
alter table schema_migrations owner to smtp_proxy_owner;

set local role smtp_proxy_owner;

grant usage on schema public to
  smtp_proxy_group, smtp_proxy_login, smtp_proxy_admin, smtp_proxy_intake, smtp_proxy_worker, smtp_proxy_search;
grant select on schema_migrations to
  smtp_proxy_group, smtp_proxy_login, smtp_proxy_admin, smtp_proxy_intake, smtp_proxy_worker;

-- The group of this transaction; null when none is set, and null equals nothing, so no group means no rows.
create function current_group_id() returns uuid
  language sql stable parallel safe
  return nullif(current_setting('app.current_group_id', true), '')::uuid;
