import { z } from "@hono/zod-openapi";
import { lockGroups } from "../../../lib/groups/member_entries_table.ts";
import { newId } from "../../../lib/ids.ts";
import type { GroupSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { ruleBody, wishOf } from "../../../lib/routing/rule_body.ts";
import {
  deleteRule,
  findRule,
  insertRule,
  listRuleEntries,
  type RuleEntry,
  updateRule,
} from "../../../lib/routing/rule_entries_table.ts";
import { changesBetween } from "../../../lib/activity/changes.ts";
import { type Operation, operation } from "../operation.ts";
import { type Asking, findingInGroup, inGroup, type Parts, readingGroup } from "../parts.ts";
import { idOf, linkNext, nextCursor, page, pageOf, timeOf } from "../schemas.ts";
import { testRoutingRules } from "./test_routing_rules.ts";

const ruleShape = z.object({
  id: z.string(),
  "group_id": z.string(),
  priority: z.number().int(),
  conditions: z.record(z.string(), z.unknown()),
  "provider_id": z.string().nullable().meta({ description: "The first of `providers`" }),
  providers: z.array(z.object({ "provider_id": z.string(), weight: z.number().int().nullable() })),
  enabled: z.boolean(),
  "created_at": z.string(),
  "updated_at": z.string(),
}).openapi("RoutingRule");

const params = z.object({ id: idOf("routing rule") });
const tag = "routing rules";
const resourceType = "routing_rule";

/** Which of a group's providers sends which of its mail. */
export function routingRuleOperations(parts: Parts): readonly Operation[] {
  return [create(parts), list(parts), testRoutingRules(parts), get(parts), update(parts), remove(parts)];
}

function create(parts: Parts): Operation {
  return operation({
    action: "rules:write",
    method: "post",
    path: "/api/v1/routing-rules",
    tag,
    summary: "Create a routing rule",
    body: ruleBody,
    answer: { status: 201, schema: ruleShape },
    handle: async ({ body, ...asking }) => {
      const { group } = asking.principal;
      const id = newId<never>() as string;
      const wish = wishOf(id, body, true);
      return await inGroup(parts, asking, async (sql, note) => {
        await lockGroups(sql, [group]);
        await insertRule(sql, group, wish);
        const made = ruleOf(await getRule(sql, asking, id));
        await note({ action: "routing_rule.create", resourceType, resourceId: id, changes: made });
        return made;
      });
    },
  });
}

function list(parts: Parts): Operation {
  return operation({
    action: "rules:read",
    method: "get",
    path: "/api/v1/routing-rules",
    tag,
    summary: "List routing rules in the order in which they are asked",
    query: page,
    answer: { status: 200, schema: z.array(ruleShape) },
    handle: async ({ query, ...request }) => {
      const wanted = pageOf("routing_rules", query, true);
      const { group } = request.principal;
      const found = await listRuleEntries(readingGroup(parts, group), group, wanted);
      linkNext(request, nextCursor("routing_rules", found, wanted.limit, ({ priority }) => priority));
      return found.map(ruleOf);
    },
  });
}

function get(parts: Parts): Operation {
  return operation({
    action: "rules:read",
    method: "get",
    path: "/api/v1/routing-rules/{id}",
    tag,
    summary: "One routing rule",
    params,
    answer: { status: 200, schema: ruleShape },
    handle: async ({ params, ...asking }) =>
      ruleOf(await getRule(findingInGroup(parts, asking.principal.group), asking, params.id)),
  });
}

function update(parts: Parts): Operation {
  return operation({
    action: "rules:write",
    method: "put",
    path: "/api/v1/routing-rules/{id}",
    tag,
    summary: "Replace a routing rule",
    params,
    body: ruleBody,
    answer: { status: 200, schema: ruleShape },
    handle: async ({ params, body, ...asking }) => {
      const { group } = asking.principal;
      return await inGroup(parts, asking, async (sql, note) => {
        await lockGroups(sql, [group]);
        const before = await getRule(sql, asking, params.id);
        await updateRule(sql, group, wishOf(params.id, body, before.enabled));
        const after = ruleOf(await getRule(sql, asking, params.id));
        const changes = changesBetween(ruleOf(before), after);
        await note({ action: "routing_rule.update", resourceType, resourceId: params.id, changes });
        return after;
      });
    },
  });
}

function remove(parts: Parts): Operation {
  return operation({
    action: "rules:write",
    method: "delete",
    path: "/api/v1/routing-rules/{id}",
    tag,
    summary: "Delete a routing rule",
    params,
    handle: async ({ params, ...asking }) => {
      const { group } = asking.principal;
      await inGroup(parts, asking, async (sql, note) => {
        await lockGroups(sql, [group]);
        const changes = ruleOf(await getRule(sql, asking, params.id));
        await deleteRule(sql, group, params.id);
        await note({ action: "routing_rule.delete", resourceType, resourceId: params.id, changes });
      });
    },
  });
}

async function getRule(sql: GroupSql, { principal }: Asking, id: string): Promise<RuleEntry> {
  const rule = await findRule(sql, principal.group, id);
  if (rule === undefined) throw new Refusal("not_found", "routing rule not found");
  return rule;
}

function ruleOf(rule: RuleEntry): z.output<typeof ruleShape> {
  return {
    id: rule.id,
    "group_id": rule.groupId,
    priority: rule.priority,
    conditions: rule.conditions,
    "provider_id": rule.providers[0]?.id ?? null,
    providers: rule.providers.map(({ id, weight }) => ({ "provider_id": id, weight })),
    enabled: rule.enabled,
    "created_at": timeOf(rule.createdAt),
    "updated_at": timeOf(rule.updatedAt),
  };
}
