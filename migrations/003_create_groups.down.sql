drop function user_is_unattached(uuid);
drop table auth_attempts, activity_logs, sessions, usage, routing_rule_providers, routing_rules, provider_state,
  esp_providers, api_keys, group_members, users, groups;
drop function require_smtp_membership(), raise_group_revision(), raise_own_revision(), raise_user_revision(),
  withdraw_operator_credentials(), forget_provider_fault();
