-- expand
-- Doorbells only: the truth is in `messages`, so the tables are not logged, and a crash that empties them takes the
-- epoch with it, by which workers notice (rulings 3.6, 3.11). They hold ids alone, hence no row-level security; they
-- are left out of backups.
create unlogged table queue_entries (
  id bigint generated always as identity primary key,
  group_id uuid not null,
  message uuid not null,
  rung_at timestamptz not null default clock_timestamp()
) with (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
create index queue_entries_lane on queue_entries (group_id, id);

-- Whoever is to be rung for later is so once: outages of the workers add nothing to what waits.
create unlogged table queue_delayed (
  message uuid primary key,
  group_id uuid not null,
  due_at timestamptz not null
) with (
  autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 0
);
create index queue_delayed_due on queue_delayed (due_at);

create unlogged table queue_epoch (
  only_row boolean primary key default true check (only_row),
  epoch text not null
);

grant select, insert, delete, update on queue_entries, queue_delayed, queue_epoch to smtp_proxy_worker;
-- Whether a lane was empty before is all that intake asks.
grant insert, select (id, group_id) on queue_entries to smtp_proxy_intake;
-- Where the newest entry stands, without looking for it among the dead ones.
grant select on sequence queue_entries_id_seq to smtp_proxy_worker;
