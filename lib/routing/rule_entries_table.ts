import { firstId, type GroupId } from "../ids.ts";
import { violatedConstraint } from "../postgres/faults.ts";
import type { GroupSql } from "../postgres/sql.ts";
import { Refusal } from "../refusal.ts";
import type { RoutingRule, RuleProvider } from "./routing_rule.ts";
import { longestConditions, mostRules } from "./rules_table.ts";

/** A rule as it is listed; it may have lost all its providers. */
export interface RuleEntry extends RoutingRule {
  readonly groupId: GroupId;
  readonly enabled: boolean;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** What a rule is to be. */
export type RuleWish = Pick<RuleEntry, "id" | "priority" | "conditions" | "providers" | "enabled">;

/** A page of a group's rules, disabled ones too, in the order in which they are asked: by `rank`, their priority. */
export async function listRuleEntries(
  sql: GroupSql,
  group: GroupId,
  page: { readonly after?: string; readonly rank?: number; readonly limit: number },
): Promise<readonly RuleEntry[]> {
  return await sql<RuleEntry>`
    select r.id, r.group_id, r.priority, r.conditions, r.enabled, r.created_at, r.updated_at,
      coalesce(p.providers, '[]') as providers
    from routing_rules r cross join lateral (
      select jsonb_agg(jsonb_build_object('id', provider_id, 'weight', weight) order by position) as providers
      from routing_rule_providers where rule_id = r.id and group_id = ${group}
    ) p
    where r.group_id = ${group} and (r.priority, r.id) > (${page.rank ?? -2_147_483_648}::bigint, ${
    page.after ?? firstId
  }::uuid)
    order by r.priority, r.id limit ${page.limit}`;
}

/** One rule of a group. */
export async function findRule(sql: GroupSql, group: GroupId, id: string): Promise<RuleEntry | undefined> {
  const [rule] = await sql<RuleEntry>`
    select r.id, r.group_id, r.priority, r.conditions, r.enabled, r.created_at, r.updated_at,
      coalesce(p.providers, '[]') as providers
    from routing_rules r cross join lateral (
      select jsonb_agg(jsonb_build_object('id', provider_id, 'weight', weight) order by position) as providers
      from routing_rule_providers where rule_id = r.id and group_id = ${group}
    ) p
    where r.group_id = ${group} and r.id = ${id}`;
  return rule;
}

/**
 * Creates a rule of a group that is locked by the caller. Throws Refusal: too_many for the one above 1,000 and for
 * conditions above 64 KiB in all, not_found for a provider that is not the group's.
 */
export async function insertRule(sql: GroupSql, group: GroupId, rule: RuleWish): Promise<void> {
  await requireRoom(sql, group, rule);
  await sql`
    insert into routing_rules (id, group_id, priority, conditions, enabled)
    values (${rule.id}, ${group}, ${rule.priority}, ${
    JSON.stringify(rule.conditions)
  }::jsonb, ${rule.enabled})`;
  await nameProviders(sql, group, rule.id, rule.providers);
}

/** Makes a rule what it is to be; false when the group has none of its id. Throws as `insertRule` does. */
export async function updateRule(sql: GroupSql, group: GroupId, rule: RuleWish): Promise<boolean> {
  await requireRoom(sql, group, rule);
  const rows = await sql`
    update routing_rules set priority = ${rule.priority}, conditions = ${
    JSON.stringify(rule.conditions)
  }::jsonb,
      enabled = ${rule.enabled}, updated_at = now()
    where group_id = ${group} and id = ${rule.id} returning id`;
  if (rows.length === 0) return false;
  await sql`delete from routing_rule_providers where group_id = ${group} and rule_id = ${rule.id}`;
  await nameProviders(sql, group, rule.id, rule.providers);
  return true;
}

/** Removes a rule; false when the group has none of its id. */
export async function deleteRule(sql: GroupSql, group: GroupId, id: string): Promise<boolean> {
  const rows = await sql`delete from routing_rules where group_id = ${group} and id = ${id} returning id`;
  return rows.length > 0;
}

async function requireRoom(sql: GroupSql, group: GroupId, { id, conditions }: RuleWish): Promise<void> {
  const [others] = await sql<{ count: number; bytes: number }>`
    select count(*)::int as count, coalesce(sum(octet_length(conditions::text)), 0)::int as bytes
    from routing_rules where group_id = ${group} and id <> ${id}`;
  const { count = 0, bytes = 0 } = others ?? {};
  if (count >= mostRules) throw new Refusal("too_many", `a group has at most ${mostRules} routing rules`);
  const own = new TextEncoder().encode(JSON.stringify(conditions)).length;
  if (bytes + own > longestConditions) {
    const sentence =
      `the conditions of a group's routing rules have at most ${longestConditions} bytes in all`;
    throw new Refusal("too_many", sentence, { field: "conditions" });
  }
}

async function nameProviders(
  sql: GroupSql,
  group: GroupId,
  rule: string,
  providers: readonly RuleProvider[],
): Promise<void> {
  try {
    await sql`
      insert into routing_rule_providers (group_id, rule_id, position, provider_id, weight)
      select ${group}, ${rule}, p.position, (p.value ->> 'id')::uuid, (p.value ->> 'weight')::smallint
      from jsonb_array_elements(${JSON.stringify(providers)}::jsonb) with ordinality as p (value, position)`;
  } catch (error) {
    if (violatedConstraint(error)?.includes("provider_id") !== true) throw error;
    throw new Refusal("not_found", "provider not found", { field: "provider_id" });
  }
}
