import { z } from "@hono/zod-openapi";
import {
  addMember,
  deleteMember,
  findMember,
  listMembers,
  lockGroups,
  type MemberEntry,
  requireOtherOwner,
  setRole,
} from "../../../lib/groups/member_entries_table.ts";
import { type GroupId, newId, type UserId } from "../../../lib/ids.ts";
import type { GroupSql, SystemSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { groupOfPath, isOperator } from "../access/principal.ts";
import { requireRank } from "../access/rank.ts";
import { type Operation, operation } from "../operation.ts";
import { type Asking, type Note, type Parts, readingWithRights, withRights } from "../parts.ts";
import { idOf, linkNext, nextCursor, page, pageOf, role, timeOf } from "../schemas.ts";
import { getGroup } from "./groups.ts";
import { getUser } from "./users.ts";

const memberShape = z.object({
  id: z.string(),
  "group_id": z.string(),
  "user_id": z.string(),
  role,
  "created_at": z.string(),
}).openapi("Member");

const inGroupPath = z.object({ id: idOf("group") });
const params = z.object({ id: idOf("group"), uid: idOf("user") });
const tag = "groups";
const resourceType = "group_member";

/** Who is in a group, and as what. */
export function memberOperations(parts: Parts): readonly Operation[] {
  return [list(parts), add(parts), update(parts), remove(parts)];
}

function list(parts: Parts): Operation {
  return operation({
    action: "members:read",
    method: "get",
    path: "/api/v1/groups/{id}/members",
    tag,
    summary: "List members, oldest first",
    params: inGroupPath,
    query: page,
    answer: { status: 200, schema: z.array(memberShape) },
    handle: async ({ params, query, ...request }) => {
      const group = groupOfPath(request.principal, params.id);
      const wanted = pageOf("members", query);
      const sql = readingWithRights(parts, request, group);
      await getGroup(sql, group);
      const found = await listMembers(sql, group, wanted);
      linkNext(request, nextCursor("members", found, wanted.limit));
      return found.map(memberOf);
    },
  });
}

function add(parts: Parts): Operation {
  return operation({
    action: "members:write",
    method: "post",
    path: "/api/v1/groups/{id}/members",
    tag,
    summary: "Make a user whom you see a member",
    params: inGroupPath,
    body: z.strictObject({
      "user_id": z.guid({ error: "invalid user_id format" }).toLowerCase(),
      role: role.default("member"),
    }),
    answer: { status: 201, schema: memberShape },
    handle: ({ params, body, ...asking }) =>
      onGroup(parts, asking, params.id, async (sql, note, group) => {
        const found = await getGroup(sql, group);
        if (found.status === "deleted") throw new Refusal("not_found", "group not found");
        requireMayGive(asking, group, body.role);
        const { principal } = asking;
        const seeing = isOperator(principal) ? { ...principal, named: false } : principal;
        const user = await getUser(sql, seeing, body.user_id);
        if (await findMember(sql, group, user.id) !== undefined) throw alreadyMember(user.accountType);
        const id = newId<never>() as string;
        const { accountType } = user;
        await addMember(sql, { id, groupId: group, userId: user.id, accountType, role: body.role });
        const changes = { "user_id": [null, user.id], role: [null, body.role] };
        await note({ action: "admin.add_member", resourceType, resourceId: id, changes });
        return memberOf(await getMember(sql, group, user.id));
      }),
  });
}

function update(parts: Parts): Operation {
  return operation({
    action: "members:write",
    method: "patch",
    path: "/api/v1/groups/{id}/members/{uid}",
    tag,
    summary: "Change a member's role",
    params,
    body: z.strictObject({ role }),
    answer: { status: 200, schema: memberShape },
    handle: ({ params, body, ...asking }) =>
      onGroup(parts, asking, params.id, async (sql, note, group) => {
        const member = await getMember(sql, group, params.uid);
        requireMayGive(asking, group, member.role);
        requireMayGive(asking, group, body.role);
        if (member.role === "owner" && body.role !== "owner") {
          await requireOtherOwner(sql, group, member.userId, "cannot demote the last owner");
        }
        await setRole(sql, group, member.userId, body.role);
        const changes = { "old_role": member.role, "new_role": body.role, "user_id": member.userId };
        await note({ action: "admin.update_member_role", resourceType, resourceId: member.id, changes });
        return memberOf({ ...member, role: body.role });
      }),
  });
}

function remove(parts: Parts): Operation {
  return operation({
    action: "members:write",
    method: "delete",
    path: "/api/v1/groups/{id}/members/{uid}",
    tag,
    summary: "Remove a member; an SMTP account is deleted instead",
    params,
    handle: async ({ params, ...asking }) => {
      await onGroup(parts, asking, params.id, async (sql, note, group) => {
        const member = await getMember(sql, group, params.uid);
        requireMayGive(asking, group, member.role);
        if (member.accountType === "smtp") {
          throw new Refusal(
            "conflict",
            "an smtp account belongs to exactly one group: delete the account instead",
          );
        }
        if (member.role === "owner") {
          await requireOtherOwner(sql, group, member.userId, "cannot remove the last owner");
        }
        await deleteMember(sql, group, member.userId);
        const changes = { "user_id": [member.userId, null], role: [member.role, null] };
        await note({ action: "admin.remove_member", resourceType, resourceId: member.id, changes });
      });
    },
  });
}

/** A change of a group's members, while nobody else changes them. */
async function onGroup<T>(
  parts: Parts,
  asking: Asking,
  id: string,
  work: (sql: GroupSql | SystemSql, note: Note, group: GroupId) => Promise<T>,
): Promise<T> {
  const group = groupOfPath(asking.principal, id);
  return await withRights(parts, asking, async (sql, note) => {
    if (!(await lockGroups(sql, [group])).has(group)) throw new Refusal("not_found", "group not found");
    return await work(sql, note, group);
  }, group);
}

async function getMember(sql: GroupSql | SystemSql, group: GroupId, user: string): Promise<MemberEntry> {
  const member = await findMember(sql, group, user as UserId);
  if (member === undefined) throw new Refusal("not_found", "member not found");
  return member;
}

function alreadyMember(type: "human" | "smtp"): Refusal {
  const here = type === "smtp" ? "smtp account already belongs to another group" : undefined;
  return new Refusal("already_member", here ?? "user is already a member of this group");
}

function requireMayGive({ principal }: Asking, group: GroupId, given: z.output<typeof role>): void {
  requireRank(principal, group, given, `your role does not allow changing who is ${given}`);
}

function memberOf(member: MemberEntry): z.output<typeof memberShape> {
  return {
    id: member.id,
    "group_id": member.groupId,
    "user_id": member.userId,
    role: member.role,
    "created_at": timeOf(member.createdAt),
  };
}
