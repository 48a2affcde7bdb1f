drop trigger delivery_events_suppress on delivery_events;
drop function suppress_reported();
drop table suppressions;
drop function note_suppression();
drop policy trigger_looks on recipients;
drop policy trigger_tells on activity_logs;
revoke select (group_id, message_id, position, address_lower) on recipients from smtp_proxy_trigger;
revoke insert (group_id, action, resource_type, resource_id, changes) on activity_logs from smtp_proxy_trigger;
alter table groups drop column has_suppressions, drop column suppress_reported;
