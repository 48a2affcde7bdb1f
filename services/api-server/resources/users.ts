import { z } from "@hono/zod-openapi";
import { deleteMember, lockGroups, requireOtherOwner } from "../../../lib/groups/member_entries_table.ts";
import type { Role } from "../../../lib/groups/group.ts";
import type { GroupId, UserId } from "../../../lib/ids.ts";
import type { GroupSql, SystemSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { hashPassword } from "../../../lib/users/password.ts";
import {
  findUser,
  isOursAlone,
  listMemberships,
  listUsers,
  removeUser,
  setAnyPassword,
  setMemberPassword,
  updateUser,
  type UserChange,
  type UserEntry,
} from "../../../lib/users/user_entries_table.ts";
import {
  activeOrSuspended,
  email,
  newPassword,
  senderDomains,
  username,
} from "../../../lib/users/user_fields.ts";
import { isOperator, type Principal } from "../access/principal.ts";
import { requireRank } from "../access/rank.ts";
import { changesBetween, maskedChange } from "../../../lib/activity/changes.ts";
import { type Operation, operation } from "../operation.ts";
import {
  type Asking,
  findingWithRights,
  inGroup,
  type Note,
  type Parts,
  readingWithRights,
  withRights,
} from "../parts.ts";
import { idOf, linkNext, nextCursor, page, pageOf } from "../schemas.ts";
import { createUser } from "./create_user.ts";
import { getGroup, requireDomains } from "./groups.ts";
import { userOf, userShape } from "./user_shapes.ts";

const params = z.object({ id: idOf("user") });
const tag = "users";
/** People and SMTP accounts: of one's group, or for operators that name none, of all groups. */
export function userOperations(parts: Parts): readonly Operation[] {
  return [createUser(parts), list(parts), get(parts), update(parts), setStatus(parts), remove(parts)];
}

/** The group whose users a principal sees; undefined is all groups. */
export function visibleGroup(principal: Principal): GroupId | undefined {
  return isOperator(principal) && !principal.named ? undefined : principal.group;
}

/** A user whom the principal sees; throws Refusal("not_found"). */
export async function getUser(
  sql: GroupSql | SystemSql,
  principal: Principal,
  id: string,
): Promise<UserEntry> {
  const user = await findUser(sql, visibleGroup(principal), id as UserId);
  if (user === undefined) throw new Refusal("not_found", "user not found");
  return user;
}

function list(parts: Parts): Operation {
  return operation({
    action: "users:read",
    method: "get",
    path: "/api/v1/users",
    tag,
    summary: "List users, newest first",
    query: page,
    answer: { status: 200, schema: z.array(userShape) },
    handle: async ({ query, ...request }) => {
      const wanted = pageOf("users", query);
      const group = visibleGroup(request.principal);
      const found = await listUsers(readingWithRights(parts, request), group, wanted);
      linkNext(request, nextCursor("users", found, wanted.limit));
      return found.map(userOf);
    },
  });
}

function get(parts: Parts): Operation {
  return operation({
    action: "users:read",
    method: "get",
    path: "/api/v1/users/{id}",
    tag,
    summary: "One user",
    params,
    answer: { status: 200, schema: userShape },
    handle: async ({ params, ...asking }) =>
      userOf(await getUser(findingWithRights(parts, asking), asking.principal, params.id)),
  });
}

function update(parts: Parts): Operation {
  return operation({
    action: "users:write",
    method: "patch",
    path: "/api/v1/users/{id}",
    tag,
    summary: "Change a user's address, name, password, domains or status",
    description: "Your own password is changed by PUT /api/v1/auth/password.",
    params,
    body: z.strictObject({
      email: email.optional(),
      username: username.optional(),
      password: newPassword.optional(),
      "allowed_domains": senderDomains.optional(),
      status: activeOrSuspended.optional(),
    }),
    answer: { status: 200, schema: userShape },
    handle: async ({ params, body, ...asking }) => {
      const { password, "allowed_domains": allowedDomains, ...rest } = body;
      const hash = password === undefined ? undefined : await hashPassword(password);
      if (hash !== undefined && params.id === asking.principal.user) {
        throw new Refusal("request_invalid", "change your own password by PUT /api/v1/auth/password", {
          field: "password",
        });
      }
      return await parts.conflicts.guard(
        asking.principal.user,
        () => change(parts, asking, params.id, { ...rest, allowedDomains }, hash, "admin.update_user"),
      );
    },
  });
}

function setStatus(parts: Parts): Operation {
  return operation({
    action: "users:write",
    method: "patch",
    path: "/api/v1/users/{id}/status",
    tag,
    summary: "Suspend or reactivate a user",
    params,
    body: z.strictObject({ status: activeOrSuspended }),
    answer: { status: 200, schema: userShape },
    handle: ({ params, body, ...asking }) =>
      change(parts, asking, params.id, body, undefined, "admin.update_user_status"),
  });
}

async function change(
  parts: Parts,
  asking: Asking,
  id: string,
  wanted: UserChange,
  hash: string | undefined,
  action: string,
): Promise<z.output<typeof userShape>> {
  const { principal } = asking;
  return await onUser(parts, asking, id, async (sql, note, before, group) => {
    await requireAlone(sql, principal, before);
    if (wanted.status === "suspended") {
      if (before.id === principal.user) throw new Refusal("self_deletion", "cannot suspend yourself");
      await guardOwners(sql, principal, before.id, "cannot suspend the last owner");
    }
    if (wanted.allowedDomains !== undefined && group !== undefined) {
      requireDomains(parts, await getGroup(sql, group), wanted.allowedDomains);
    }
    await updateUser(sql, visibleGroup(principal), before.id, wanted);
    if (hash !== undefined) {
      if (isOperator(principal)) await setAnyPassword(sql as SystemSql, before.id, hash);
      else if (!await setMemberPassword(sql as GroupSql, before.id, hash, undefined)) throw shared();
    }
    const after = await getUser(sql, principal, id);
    const changes = {
      ...changesBetween(userOf(before), userOf(after)),
      ...(hash === undefined ? {} : { password: maskedChange }),
    };
    await note({ action, resourceType: "user", resourceId: id, changes });
    return userOf(after);
  });
}

function remove(parts: Parts): Operation {
  return operation({
    action: "users:write",
    method: "delete",
    path: "/api/v1/users/{id}",
    tag,
    summary: "Delete a user",
    description:
      "A user who belongs to other groups too only leaves this one, unless a system administrator names none.",
    params,
    handle: async ({ params, ...asking }) => {
      const { principal } = asking;
      if (params.id === principal.user) throw new Refusal("self_deletion", "cannot delete yourself");
      await onUser(parts, asking, params.id, async (sql, note, user) => {
        const alone = await isDecidedHere(sql, principal, user.id);
        const left = alone ? undefined : principal.group;
        await guardOwners(sql, principal, user.id, "cannot delete the last owner", left);
        const { email, "account_type": type } = userOf(user);
        const changes = { email: [email, null], "account_type": [type, null], left: !alone };
        await note({
          action: "admin.delete_user",
          resourceType: "user",
          resourceId: user.id,
          changes,
          ...(left === undefined ? {} : { group: left }),
        });
        if (alone) await removeUser(sql, user.id);
        else await deleteMember(sql, principal.group, user.id);
      });
    },
  });
}

/**
 * A change of a user whom the principal sees and outranks in each of the groups that the principal sees, which are
 * locked in their order, so that whoever counts owners counts right.
 */
export async function onUser<T>(
  parts: Parts,
  asking: Asking,
  id: string,
  work: (
    sql: GroupSql | SystemSql,
    note: Note,
    user: UserEntry,
    group: GroupId | undefined,
  ) => Promise<T>,
): Promise<T> {
  const { principal } = asking;
  return await withRights(parts, asking, async (sql, note) => {
    await getUser(sql, principal, id);
    await lockGroups(sql, (await listMemberships(sql, id as UserId)).map(({ groupId }) => groupId));
    const user = await getUser(sql, principal, id);
    const memberships = await listMemberships(sql, user.id);
    for (const { groupId, role } of memberships) requireMayTouch(principal, groupId, role, user.id);
    // An operator's change is filed wherever the user is.
    const groups = memberships.map(({ groupId }) => groupId);
    const told: Note = async (change) => {
      if (!isOperator(principal) || change.group !== undefined || groups.length === 0) {
        return await note(change);
      }
      for (const group of groups) await note({ group, ...change });
    };
    return await work(sql, told, user, visibleGroup(principal) ?? groups[0]);
  });
}

/** Whether the group acted in, or an operator who names none, decides about the user himself and not his membership. */
async function isDecidedHere(
  sql: GroupSql | SystemSql,
  principal: Principal,
  user: UserId,
): Promise<boolean> {
  if (!isOperator(principal)) return await isOursAlone(sql as GroupSql, user);
  return !principal.named ||
    (await listMemberships(sql, user)).every(({ groupId }) => groupId === principal.group);
}

function requireMayTouch(principal: Principal, group: GroupId, role: Role, user: UserId): void {
  if (user === principal.user) return;
  requireRank(principal, group, role, `your role does not allow changing ${role} accounts`);
}

/** Throws Refusal("user_is_shared") when other groups have the user too and the principal is no operator. */
export async function requireAlone(
  sql: GroupSql | SystemSql,
  principal: Principal,
  user: UserEntry,
): Promise<void> {
  if (isOperator(principal) || await isOursAlone(sql as GroupSql, user.id)) return;
  throw shared();
}

function shared(): Refusal {
  return new Refusal("user_is_shared", "only a system administrator may change this user");
}

/** Of the groups that the principal sees, or of the one that the user leaves alone. */
async function guardOwners(
  sql: GroupSql | SystemSql,
  principal: Principal,
  user: UserId,
  sentence: string,
  left?: GroupId,
): Promise<void> {
  for (const { groupId, role } of await listMemberships(sql, user)) {
    if (left !== undefined && groupId !== left) continue;
    if (role === "owner" && (isOperator(principal) || groupId === principal.group)) {
      await requireOtherOwner(sql, groupId, user, sentence);
    }
  }
}

/** A transaction in the group of a user whom the principal sees, for what belongs to group and user. */
export async function inGroupOf<T>(
  parts: Parts,
  asking: Asking,
  id: string,
  work: (sql: GroupSql, note: Note, user: UserEntry, group: GroupId) => Promise<T>,
): Promise<T> {
  const { principal } = asking;
  const { user, group } = await withRights(parts, asking, async (sql) => {
    const user = await getUser(sql, principal, id);
    const [first] = await listMemberships(sql, user.id);
    return { user, group: visibleGroup(principal) ?? first?.groupId };
  });
  if (group === undefined) throw new Refusal("not_found", "user not found");
  return await inGroup(parts, asking, (sql, note) => work(sql, note, user, group), group);
}
