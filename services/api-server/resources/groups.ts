import { z } from "@hono/zod-openapi";
import { requireWithin } from "../../../lib/users/sender_domains.ts";
import { activeOrSuspended, senderDomains } from "../../../lib/users/user_fields.ts";
import { allowedIps, groupName, monthlyLimit, retention } from "../../../lib/groups/group_fields.ts";
import { lockGroups } from "../../../lib/groups/member_entries_table.ts";
import {
  cancelQueuedMail,
  createGroup,
  findGroup,
  type GroupEntry,
  hasUnfinishedMail,
  listGroups,
  suspendAccounts,
  updateGroup,
  updateGroupLimits,
} from "../../../lib/groups/group_entries_table.ts";
import { type GroupId, newId } from "../../../lib/ids.ts";
import type { GroupSql, SystemSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { groupOfPath, isOperator } from "../access/principal.ts";
import { changesBetween } from "../../../lib/activity/changes.ts";
import { type Operation, operation } from "../operation.ts";
import { asOperator, findingWithRights, type Parts, readingEverything, withRights } from "../parts.ts";
import { idOf, linkNext, nextCursor, page, pageOf, timeOf } from "../schemas.ts";

const groupShape = z.object({
  id: z.string(),
  name: z.string(),
  "group_type": z.enum(["system", "company"]),
  status: z.enum(["active", "suspended", "deleted"]),
  "monthly_limit": z.number().int().meta({ description: "Messages a month (UTC); 0 is unlimited" }),
  "monthly_sent": z.number().int(),
  "allowed_domains": z.array(z.string()),
  "allowed_ips": z.array(z.string()).nullable(),
  "suppress_reported": z.boolean().meta({
    description: "Whether an address is suppressed that a service reports a hard bounce or a complaint of",
  }),
  retention: z.object({ delivered: z.number().nullable(), failed: z.number().nullable() }).meta({
    description:
      "Seconds for which bodies of delivered mail and of dead letters are kept; null as the settings say",
  }),
  "created_at": z.string(),
  "updated_at": z.string(),
}).openapi("Group");

const params = z.object({ id: idOf("group") });
const tag = "groups";

/** Companies, and the operator's own group. */
export function groupOperations(parts: Parts): readonly Operation[] {
  return [create(parts), list(parts), get(parts), update(parts), remove(parts)];
}

function create(parts: Parts): Operation {
  return operation({
    action: "groups:manage",
    method: "post",
    path: "/api/v1/groups",
    tag,
    summary: "Create a company",
    body: z.strictObject({
      name: groupName,
      "monthly_limit": monthlyLimit.optional(),
      "allowed_domains": senderDomains.optional().meta({
        description: "The sender domains its accounts may be given",
      }),
    }),
    answer: { status: 201, schema: groupShape },
    handle: async ({ body, ...asking }) => {
      const id = newId<GroupId>();
      return await asOperator(parts, asking, async (sql, note) => {
        await createGroup(sql, {
          id,
          name: body.name,
          groupType: "company",
          status: "active",
          monthlyLimit: body.monthly_limit ?? parts.defaultMonthlyLimit,
          allowedDomains: body.allowed_domains ?? [],
        });
        const made = await getGroup(sql, id);
        await note({
          action: "admin.create_group",
          resourceType: "group",
          resourceId: id,
          changes: groupOf(made),
        });
        return groupOf(made);
      }, id);
    },
  });
}

function list(parts: Parts): Operation {
  return operation({
    action: "groups:list",
    method: "get",
    path: "/api/v1/groups",
    tag,
    summary: "List all groups, newest first",
    query: page,
    answer: { status: 200, schema: z.array(groupShape) },
    handle: async ({ query, ...request }) => {
      const wanted = pageOf("groups", query);
      const found = await listGroups(readingEverything(parts, request), wanted);
      linkNext(request, nextCursor("groups", found, wanted.limit));
      return found.map(groupOf);
    },
  });
}

function get(parts: Parts): Operation {
  return operation({
    action: "groups:read",
    method: "get",
    path: "/api/v1/groups/{id}",
    tag,
    summary: "One group",
    params,
    answer: { status: 200, schema: groupShape },
    handle: async ({ params, ...asking }) => {
      const id = groupOfPath(asking.principal, params.id);
      return groupOf(await getGroup(findingWithRights(parts, asking, id), id));
    },
  });
}

function update(parts: Parts): Operation {
  return operation({
    action: "groups:write",
    method: "patch",
    path: "/api/v1/groups/{id}",
    tag,
    summary: "Change a group; its status, limit and domains are for system administrators",
    params,
    body: z.strictObject({
      name: groupName.optional(),
      "allowed_ips": allowedIps.optional(),
      "suppress_reported": z.boolean().optional(),
      status: activeOrSuspended.optional(),
      "monthly_limit": monthlyLimit.optional(),
      "allowed_domains": senderDomains.optional(),
      retention: retention.optional().meta({
        description: "No longer than the settings say; nought is not at all, null as the settings say",
      }),
    }),
    answer: { status: 200, schema: groupShape },
    handle: async ({ params, body, ...asking }) => {
      const id = groupOfPath(asking.principal, params.id);
      requireShorter("delivered", body.retention?.delivered, parts.longestTerms.deliveredMs);
      requireShorter("failed", body.retention?.failed, parts.longestTerms.failedMs);
      const limits = {
        status: body.status,
        monthlyLimit: body.monthly_limit,
        allowedDomains: body.allowed_domains,
      };
      const isLimiting = Object.values(limits).some((value) => value !== undefined);
      if (isLimiting && !isOperator(asking.principal)) {
        throw new Refusal(
          "permission_missing",
          "status, monthly_limit and allowed_domains are for system administrators",
        );
      }
      return await withRights(parts, asking, async (sql, note) => {
        await lockGroups(sql, [id]);
        const before = await getGroup(sql, id);
        if (before.status === "deleted") throw new Refusal("not_found", "group not found");
        guardSystem(before, limits.status);
        await updateGroup(sql, id, {
          name: body.name,
          allowedIps: body.allowed_ips,
          suppressReported: body.suppress_reported,
          retentionDelivered: body.retention?.delivered,
          retentionFailed: body.retention?.failed,
        });
        if (isLimiting) await updateGroupLimits(sql as SystemSql, id, limits);
        const after = await getGroup(sql, id);
        const changes = changesBetween(groupOf(before), groupOf(after));
        await note({ action: "admin.update_group", resourceType: "group", resourceId: id, changes });
        return groupOf(after);
      }, id);
    },
  });
}

function remove(parts: Parts): Operation {
  return operation({
    action: "groups:manage",
    method: "delete",
    path: "/api/v1/groups/{id}",
    tag,
    summary: "Delete a company",
    description: "409 while it has unfinished mail, unless `mail=cancel`, which cancels what waits.",
    params,
    query: z.strictObject({ mail: z.literal("cancel").optional() }),
    handle: async ({ params, query, ...asking }) => {
      const id = groupOfPath(asking.principal, params.id);
      await asOperator(parts, asking, async (sql, note) => {
        await lockGroups(sql, [id]);
        const group = await getGroup(sql, id);
        if (group.groupType === "system") {
          throw new Refusal("system_group_protected", "cannot delete system group");
        }
        if (group.status === "deleted") throw new Refusal("not_found", "group not found");
        const cancelled = query.mail === "cancel" ? await cancelQueuedMail(sql, id) : 0;
        if (query.mail !== "cancel" && await hasUnfinishedMail(sql, id)) {
          throw new Refusal(
            "mail_unfinished",
            "group has unfinished mail: wait for it, or cancel it with mail=cancel",
          );
        }
        await updateGroupLimits(sql, id, { status: "deleted" });
        await suspendAccounts(sql, id);
        const changes = { status: [group.status, "deleted"], "cancelled_messages": cancelled };
        await note({ action: "admin.delete_group", resourceType: "group", resourceId: id, changes });
      }, id);
    },
  });
}

/** A group's row; throws Refusal("not_found"). */
export async function getGroup(sql: GroupSql | SystemSql, id: GroupId): Promise<GroupEntry> {
  const group = await findGroup(sql, id);
  if (group === undefined) throw new Refusal("not_found", "group not found");
  return group;
}

/** Throws Refusal("domain_not_allowed") when a group may not give one of the domains (ruling 3.14). */
export function requireDomains(parts: Parts, group: GroupEntry, domains: readonly string[]): void {
  if (parts.requireGroupDomains) requireWithin(domains, group.allowedDomains);
}

function requireShorter(field: string, seconds: number | null | undefined, mostMs: number | undefined): void {
  if (seconds === undefined || seconds === null || mostMs === undefined || seconds * 1000 <= mostMs) return;
  const sentence = `retention.${field} is at most ${
    Math.floor(mostMs / 1000)
  } seconds, as retention.${field} is set`;
  throw new Refusal("request_invalid", sentence, { field: `retention.${field}` });
}

function guardSystem(group: GroupEntry, status: string | undefined): void {
  if (group.groupType !== "system" || status === undefined || status === "active") return;
  throw new Refusal("system_group_protected", "cannot suspend system group");
}

function groupOf(group: GroupEntry): z.output<typeof groupShape> {
  return {
    id: group.id,
    name: group.name,
    "group_type": group.groupType,
    status: group.status,
    "monthly_limit": group.monthlyLimit,
    "monthly_sent": group.monthlySent,
    "allowed_domains": [...group.allowedDomains],
    "allowed_ips": group.allowedIps === null ? null : [...group.allowedIps],
    "suppress_reported": group.suppressReported,
    retention: { delivered: group.retentionDelivered, failed: group.retentionFailed },
    "created_at": timeOf(group.createdAt),
    "updated_at": timeOf(group.updatedAt),
  };
}
