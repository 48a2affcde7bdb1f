drop function ensure_partitions(integer), find_submission(uuid, bytea, uuid, uuid);
drop table workers, queue_state, delivery_events, delivery_logs, recipients, messages;
drop sequence message_claims;
drop function first_uuid_at(timestamptz);
