import { z } from "@hono/zod-openapi";
import { issueApiKey } from "../../../lib/api_keys/api_key.ts";
import { insertApiKey } from "../../../lib/api_keys/api_keys_table.ts";
import type { Role } from "../../../lib/groups/group.ts";
import { addMember, lockGroups } from "../../../lib/groups/member_entries_table.ts";
import { type GroupId, newId, type UserId } from "../../../lib/ids.ts";
import type { GroupSql, SystemSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { hashPassword } from "../../../lib/users/password.ts";
import { createUser as insertUser, findUser } from "../../../lib/users/user_entries_table.ts";
import { email, newPassword, senderDomains, username } from "../../../lib/users/user_fields.ts";
import { isOperator, type Principal } from "../access/principal.ts";
import { outranks } from "../access/rank.ts";
import { type Operation, operation } from "../operation.ts";
import { type Asking, type Note, type Parts, withRights } from "../parts.ts";
import { role as roleName } from "../schemas.ts";
import { getGroup, requireDomains } from "./groups.ts";
import { accountType, createdUserShape, userOf } from "./user_shapes.ts";

const body = z.strictObject({
  email,
  password: newPassword.optional(),
  "account_type": accountType.default("human"),
  username: username.optional().meta({
    description: "What an SMTP account logs in with; the e-mail address when not given",
  }),
  "group_id": z.guid({ error: "invalid group_id format" }).toLowerCase().optional(),
  role: roleName.default("member"),
  "allowed_domains": senderDomains.optional(),
}).refine(({ account_type: type, password }) => type === "smtp" || password !== undefined, {
  message: "password is required for user accounts",
  path: ["password"],
});
type Wanted = z.output<typeof body>;

/** POST /users: the user, its membership and an SMTP account's first key, all or nothing. */
export function createUser(parts: Parts): Operation {
  return operation({
    action: "users:write",
    method: "post",
    path: "/api/v1/users",
    tag: "users",
    summary: "Create a person or an SMTP account",
    invalidSentence: "validation_failed",
    body,
    answer: { status: 201, schema: createdUserShape },
    handle: async ({ body: wanted, ...asking }) => {
      const group = groupFor(asking.principal, wanted);
      guardRole(asking.principal, group, wanted.role);
      const hash = wanted.password === undefined ? null : await hashPassword(wanted.password);
      const make = (sql: GroupSql | SystemSql, note: Note) =>
        insert(parts, asking, sql, note, wanted, group, hash);
      return await parts.conflicts.guard(
        asking.principal.user,
        () => withRights(parts, asking, make, group ?? asking.principal.group),
      );
    },
  });
}

/** The group of the new user: one's own, or for operators the one they name, if any. */
function groupFor(principal: Principal, wanted: Wanted): GroupId | undefined {
  const given = wanted.group_id as GroupId | undefined;
  if (!isOperator(principal) || principal.named) {
    if (given === undefined || given === principal.group) return principal.group;
    throw new Refusal("permission_missing", "access denied to the specified group", { field: "group_id" });
  }
  return given ?? (wanted.account_type === "smtp" ? principal.group : undefined);
}

function guardRole(principal: Principal, group: GroupId | undefined, role: Role): void {
  if (group === undefined || outranks(principal, group, role)) return;
  const sentence = role === "owner"
    ? "only owners can create owner accounts"
    : `your role cannot create ${role} accounts`;
  throw new Refusal("rank_too_low", sentence, { field: "role" });
}

async function insert(
  parts: Parts,
  { principal }: Asking,
  sql: GroupSql | SystemSql,
  note: Note,
  wanted: Wanted,
  group: GroupId | undefined,
  hash: string | null,
) {
  const isSmtp = wanted.account_type === "smtp";
  const id = newId<UserId>();
  const allowedDomains = isSmtp ? wanted.allowed_domains ?? [] : [];
  if (group !== undefined) {
    await lockGroups(sql, [group]);
    const found = await getGroup(sql, group);
    if (found.status === "deleted") throw new Refusal("not_found", "group not found", { field: "group_id" });
    requireDomains(parts, found, allowedDomains);
  }
  const username = wanted.username ?? (isSmtp ? wanted.email : undefined);
  await insertUser(sql, {
    id,
    email: wanted.email,
    ...(username === undefined ? {} : { username }),
    accountType: wanted.account_type,
    status: "active",
    allowedDomains,
  }, hash);
  const accountType = wanted.account_type;
  if (group !== undefined) {
    const membership = newId<never>() as string;
    await addMember(sql, { id: membership, groupId: group, userId: id, accountType, role: wanted.role });
  }
  const key = isSmtp && group !== undefined ? await addFirstKey(sql, group, id, principal.user) : undefined;
  const user = await findUser(sql, group, id);
  if (user === undefined) throw new Error("A user that was just created cannot be found");
  const changes = { email: wanted.email, "account_type": wanted.account_type, role: wanted.role };
  await note({ action: "admin.create_user", resourceType: "user", resourceId: id, changes });
  return { ...userOf(user), ...(key === undefined ? {} : { "api_key": key }) };
}

async function addFirstKey(sql: GroupSql | SystemSql, group: GroupId, user: UserId, creator: UserId) {
  const { key, prefix, hash } = await issueApiKey();
  const id = newId<never>() as string;
  const stored = { id, group, user, name: "first", prefix, hash, scopes: ["send"], expiresAt: undefined };
  await insertApiKey(sql, { ...stored, createdBy: creator }, 1);
  return key;
}
