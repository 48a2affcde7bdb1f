revoke insert, select (id, group_id) on queue_entries from smtp_proxy_admin;
revoke update (attempts, wait_cause) on recipients from smtp_proxy_group;
alter table messages drop column requeued_at;
drop function find_messages(uuid, uuid, uuid, integer, text, text, text, text, text, uuid, text);
drop trigger messages_indexed on messages;
drop function index_messages();
do $$
begin
  execute replace(pg_get_functiondef('ensure_partitions(integer)'::regprocedure), '''message_search'', ', '');
  execute replace(pg_get_functiondef('drop_week(text, integer)'::regprocedure), '''message_search'', ', '');
end
$$;
drop policy search_reads on recipients;
drop policy search_reads on messages;
revoke select (group_id, message_id, address_lower) on recipients from smtp_proxy_search;
revoke select (id, group_id, status, claimed_until, failure_code, sender, subject, rfc_message_id, provider_id) on messages
  from smtp_proxy_search;
drop table message_search;
drop index messages_status, messages_provider;
drop function search_key(uuid, text), message_id_key(uuid, text);
