import type { GroupId } from "../ids.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";
import type { RoutingRule } from "./routing_rule.ts";

/** Most rules of a group. */
export const mostRules = 1000;

/** Longest conditions of all rules of a group together, in bytes of JSON: what one message costs to route is bounded. */
export const longestConditions = 64 * 1024;

/** A group's enabled rules that name a provider, first to be asked first. */
export async function listRules(sql: SystemSql | GroupSql, group: GroupId): Promise<readonly RoutingRule[]> {
  return await (sql as Sql)<RoutingRule>`
    select r.id, r.priority, r.conditions, p.providers
    from routing_rules r cross join lateral (
      select jsonb_agg(jsonb_build_object('id', provider_id, 'weight', weight) order by position) as providers
      from routing_rule_providers where rule_id = r.id and group_id = r.group_id
    ) p
    where r.group_id = ${group} and r.enabled and p.providers is not null
    order by r.priority, r.id limit ${mostRules}`;
}
