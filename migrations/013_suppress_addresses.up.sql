-- expand
-- Addresses that a group does not send to, whoever of its accounts names them.
create table suppressions (
  id uuid primary key default uuidv7(),
  group_id uuid not null references groups,
  -- Lower case; the domain as A-labels, as recipients have it.
  address text collate "C" not null check (length(address) between 3 and 320),
  reason text not null check (reason in ('bounce', 'complaint', 'unsubscribe', 'manual')),
  note varchar(500),
  created_at timestamptz not null default now(),
  -- Null for what a service reported.
  created_by uuid references users on delete set null,
  unique (group_id, address)
);
create index suppressions_group on suppressions (group_id, id desc);
create index suppressions_reason on suppressions (group_id, reason, id desc);

alter table groups
  -- Never falls back to false: where it is false nobody need look, where it is true there may be none any more.
  add column has_suppressions boolean not null default false,
  -- Whether what services report as a hard bounce or a complaint is suppressed from then on.
  add column suppress_reported boolean not null default false;

alter table suppressions enable row level security;
alter table suppressions force row level security;
create policy own_group on suppressions to smtp_proxy_group
  using (group_id = (select current_group_id())) with check (group_id = (select current_group_id()));
create policy worker_reads on suppressions for select to smtp_proxy_worker using (true);
create policy trigger_looks on suppressions for select to smtp_proxy_trigger using (true);
create policy trigger_adds on suppressions for insert to smtp_proxy_trigger with check (true);
create policy trigger_looks on recipients for select to smtp_proxy_trigger using (true);
create policy trigger_tells on activity_logs for insert to smtp_proxy_trigger with check (actor_id is null);
grant select, insert, delete on suppressions to smtp_proxy_group;
grant select (group_id, address, reason) on suppressions to smtp_proxy_worker;
grant select (id, group_id, address), insert (group_id, address, reason) on suppressions to smtp_proxy_trigger;
grant select (group_id, message_id, position, address_lower) on recipients to smtp_proxy_trigger;
grant insert (group_id, action, resource_type, resource_id, changes) on activity_logs to smtp_proxy_trigger;
grant update (suppress_reported) on groups to smtp_proxy_group;
grant select (has_suppressions) on groups to smtp_proxy_worker;
grant select (has_suppressions, suppress_reported), update (has_suppressions) on groups to smtp_proxy_trigger;

create function note_suppression() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
begin
  update groups set has_suppressions = true where id = new.group_id and not has_suppressions;
  return null;
end
$$;
create trigger suppressions_noted after insert on suppressions for each row execute function note_suppression();

create function suppress_reported() returns trigger language plpgsql security definer
  set search_path = pg_catalog, public, pg_temp as $$
declare
  added suppressions.id%type;
  why constant text := case new.kind when 'bounced' then 'bounce' else 'complaint' end;
  whom text;
begin
  select r.address_lower into whom from recipients r join groups g on g.id = r.group_id
    where r.message_id = new.message_id and r.position = new.position and r.group_id = new.group_id
      and g.suppress_reported;
  if whom is null then
    return null;
  end if;
  insert into suppressions (group_id, address, reason) values (new.group_id, whom, why)
    on conflict (group_id, address) do nothing returning id into added;
  if added is not null then
    insert into activity_logs (group_id, action, resource_type, resource_id, changes)
      values (new.group_id, 'suppression.create', 'suppression', added,
        jsonb_build_object('address', whom, 'reason', why, 'message_id', new.message_id));
  end if;
  return null;
end
$$;
create trigger delivery_events_suppress after insert on delivery_events for each row
  when (new.kind = 'complained' or new.kind = 'bounced' and new.data ->> 'permanent' = 'true')
  execute function suppress_reported();

revoke execute on function note_suppression(), suppress_reported() from public;
alter function note_suppression() owner to smtp_proxy_trigger;
alter function suppress_reported() owner to smtp_proxy_trigger;
