-- expand
-- The folders that bodies were kept in, by the id that each holds: where one should be and is not, it is away, and no
-- new one is made in its place.
create table stores (
  id uuid primary key,
  seen_at timestamptz not null default clock_timestamp()
);
grant select (id), insert (id) on stores to smtp_proxy_intake;
