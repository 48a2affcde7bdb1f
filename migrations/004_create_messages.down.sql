drop function ensure_partitions(integer), find_submission(uuid, bytea, uuid, uuid),
  store_messages(jsonb, uuid[], integer[], bytea[], uuid, uuid, boolean),
  store_messages_one_by_one(jsonb, uuid, uuid), submitted(bytea[], uuid, uuid);
drop table workers, queue_state, delivery_events, delivery_logs, recipients, messages;
drop sequence message_claims;
drop function first_uuid_at(timestamptz);
drop domain message_status, recipient_status, failure_code, call_status, storage_ref, dsn_return, sha256_digest, positive,
  small_positive, duration, byte_count;
