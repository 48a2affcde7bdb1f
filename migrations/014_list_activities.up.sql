-- expand
-- Whatever activities are listed by, few or many, an index leads to them.
create index activity_logs_group_action on activity_logs (group_id, action, id desc);
create index activity_logs_group_type on activity_logs (group_id, resource_type, id desc);
create index activity_logs_action on activity_logs (action, id desc);
create index activity_logs_type on activity_logs (resource_type, id desc);

-- Activities below `before` and not below `oldest` that all that is not null holds for, newest first. Each question is
-- planned anew, since which index is short depends on whose and which activities are asked for; without sorting every plan
-- goes along an index in the order of its answer.
create function find_activities(own uuid, before uuid, oldest uuid, page integer, skipped integer, by_action text,
    by_type text, by_resource uuid, by_actor uuid)
  returns setof activity_logs language plpgsql stable set search_path = pg_catalog, public, pg_temp
  set enable_sort = off set enable_bitmapscan = off set enable_seqscan = off as $$
begin
  return query execute 'select * from activity_logs where id < $2 and id >= $3'
    || case when own is null then '' else ' and group_id = $1' end
    || case when by_action is null then '' else ' and action = $6' end
    || case when by_type is null then '' else ' and resource_type = $7' end
    || case when by_resource is null then '' else ' and resource_id = $8' end
    || case when by_actor is null then '' else ' and actor_id = $9' end
    || ' order by id desc limit $4 offset $5'
    using own, before, oldest, page, skipped, by_action, by_type, by_resource, by_actor;
end
$$;
revoke execute on function find_activities(uuid, uuid, uuid, integer, integer, text, text, uuid, uuid) from public;
grant execute on function find_activities(uuid, uuid, uuid, integer, integer, text, text, uuid, uuid)
  to smtp_proxy_group, smtp_proxy_admin;
