import type { GroupId, ProviderId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { RoutingRule } from "./routing_rule.ts";

/** A group's enabled rules that name a provider, first to be asked first. */
export async function listRules(sql: SystemSql, group: GroupId): Promise<readonly RoutingRule[]> {
  return await sql<RoutingRule & { readonly providers: ProviderId[] }>`
    select r.id, r.priority, r.conditions, p.providers
    from routing_rules r cross join lateral (
      select array_agg(provider_id order by position) as providers
      from routing_rule_providers where rule_id = r.id
    ) p
    where r.group_id = ${group} and r.enabled and p.providers is not null
    order by r.priority, r.id limit 1000`;
}
