-- expand
-- Dead letters are few among many; found without reading the others. No row that is still on its way is in it.
create index messages_dead on messages (group_id, id) where status in ('failed', 'storage_error');
