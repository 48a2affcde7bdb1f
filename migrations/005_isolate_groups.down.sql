do $$
declare entry record;
begin
  for entry in select tablename, policyname from pg_policies where schemaname = 'public' loop
    execute format('drop policy %I on public.%I', entry.policyname, entry.tablename);
  end loop;
  for entry in select c.relname from pg_class c where c.relnamespace = 'public'::regnamespace and c.relrowsecurity loop
    execute format('alter table public.%I disable row level security', entry.relname);
    execute format('alter table public.%I no force row level security', entry.relname);
  end loop;
end
$$;
revoke all on groups, users, group_members, api_keys, esp_providers, provider_state, routing_rules,
  routing_rule_providers, usage, sessions, activity_logs, auth_attempts, messages, recipients, delivery_logs,
  delivery_events, queue_state, workers from
  smtp_proxy_group, smtp_proxy_admin, smtp_proxy_intake, smtp_proxy_worker, smtp_proxy_trigger;
revoke all on sequence message_claims from smtp_proxy_worker;
alter function require_smtp_membership() owner to current_user;
alter function user_is_unattached(uuid) owner to current_user;
alter function raise_group_revision() owner to current_user;
alter function forget_provider_fault() owner to current_user;
alter function raise_user_revision() owner to current_user;
grant execute on all functions in schema public to public;
drop function drop_week(text, integer), message_week_end(oid);
drop function body_kept_until(text, timestamptz, interval, interval, interval, interval, interval);
