drop table queue_epoch, queue_delayed, queue_entries;
