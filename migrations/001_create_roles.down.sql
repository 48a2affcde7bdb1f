-- as login
-- Roles stay: other databases of the cluster may use them.
do $$
begin
  execute format('grant temporary on database %I to public', current_database());
end
$$;
drop function current_group_id();
revoke all on schema_migrations from
  smtp_proxy_group, smtp_proxy_login, smtp_proxy_admin, smtp_proxy_intake, smtp_proxy_worker;
