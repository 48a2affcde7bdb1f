-- expand
-- What smtp-server refused, for whoever asks why mail did not come: the last 10,000 of a group, and of nobody's.
create table refused_submissions (
  id uuid primary key,
  -- Null where the account's name is nobody's, or none was given.
  group_id uuid references groups,
  -- The name that was tried, as it was given.
  account varchar(255),
  address inet,
  command varchar(512) not null,
  sender varchar(320),
  code smallint not null check (code between 400 and 599),
  enhanced varchar(16),
  reason varchar(64) not null,
  reply varchar(512) not null,
  tls varchar(100),
  correlation_id varchar(128) not null,
  -- How many refusals of the same kind the row stands for; the rest of it is the last one's.
  times positive not null,
  first_at timestamptz not null,
  last_at timestamptz not null
);
create index refused_submissions_group on refused_submissions (group_id, id desc);

alter table refused_submissions enable row level security;
alter table refused_submissions force row level security;
create policy own_group on refused_submissions for select to smtp_proxy_group
  using (group_id = (select current_group_id()));
-- A group's are read as the group, also by administrators; these are of no group.
create policy nobodys on refused_submissions for select to smtp_proxy_admin using (group_id is null);
create policy intake_tells on refused_submissions for insert to smtp_proxy_intake with check (true);
create policy worker_looks on refused_submissions for select to smtp_proxy_worker using (true);
create policy worker_trims on refused_submissions for delete to smtp_proxy_worker using (true);
grant select on refused_submissions to smtp_proxy_group, smtp_proxy_admin;
grant insert on refused_submissions to smtp_proxy_intake;
grant select (id, group_id), delete on refused_submissions to smtp_proxy_worker;
