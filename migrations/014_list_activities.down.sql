drop function find_activities(uuid, uuid, uuid, integer, integer, text, text, uuid, uuid);
drop index activity_logs_type, activity_logs_action, activity_logs_group_type, activity_logs_group_action;
