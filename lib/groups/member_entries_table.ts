import { firstId, type GroupId, type UserId } from "../ids.ts";
import { violatedConstraint } from "../postgres/faults.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";
import { Refusal } from "../refusal.ts";
import type { AccountType } from "../users/user.ts";
import type { Role } from "./group.ts";

/** A membership as it is listed. */
export interface MemberEntry {
  readonly id: string;
  readonly groupId: GroupId;
  readonly userId: UserId;
  readonly accountType: AccountType;
  readonly role: Role;
  readonly createdAt: Date;
}

/** A page of a group's members, oldest first. */
export async function listMembers(
  sql: GroupSql | SystemSql,
  group: GroupId,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly MemberEntry[]> {
  return await (sql as Sql)<MemberEntry>`
    select id, group_id, user_id, account_type, role, created_at from group_members
    where group_id = ${group} and id > ${page.after ?? firstId}
    order by id limit ${page.limit}`;
}

/** A user's membership of a group. */
export async function findMember(
  sql: GroupSql | SystemSql,
  group: GroupId,
  user: UserId,
): Promise<MemberEntry | undefined> {
  const [member] = await (sql as Sql)<MemberEntry>`
    select id, group_id, user_id, account_type, role, created_at from group_members
    where group_id = ${group} and user_id = ${user}`;
  return member;
}

/** Makes a user a member; throws Refusal("already_member"), also for an SMTP account of another group. */
export async function addMember(
  sql: GroupSql | SystemSql,
  member: Omit<MemberEntry, "createdAt">,
): Promise<void> {
  const { id, groupId, userId, accountType, role } = member;
  try {
    await (sql as Sql)`
      insert into group_members (id, group_id, user_id, account_type, role)
      values (${id}, ${groupId}, ${userId}, ${accountType}, ${role})`;
  } catch (error) {
    const constraint = violatedConstraint(error);
    if (constraint === "group_members_smtp_once") {
      throw new Refusal("already_member", "smtp account already belongs to another group");
    }
    if (constraint !== "group_members_group_id_user_id_key") throw error;
    throw new Refusal("already_member", "user is already a member of this group");
  }
}

/** Changes the role of a member. */
export async function setRole(
  sql: GroupSql | SystemSql,
  group: GroupId,
  user: UserId,
  role: Role,
): Promise<void> {
  await (sql as Sql)`update group_members set role = ${role} where group_id = ${group} and user_id = ${user}`;
}

/** Ends a membership; the user's keys and sessions of the group go with it. */
export async function deleteMember(sql: GroupSql | SystemSql, group: GroupId, user: UserId): Promise<void> {
  await (sql as Sql)`delete from group_members where group_id = ${group} and user_id = ${user}`;
}

/**
 * Waits until nobody else changes the members of these groups, so that what is counted stays true until the end of
 * the transaction; answers which of them exist.
 */
export async function lockGroups(
  sql: GroupSql | SystemSql,
  groups: readonly GroupId[],
): Promise<ReadonlySet<GroupId>> {
  // Not a full lock: mail of the group refers to its row all the time.
  const rows = await (sql as Sql)<{ id: GroupId }>`
    select id from groups where id = any(${groups}::uuid[]) order by id for no key update`;
  return new Set(rows.map(({ id }) => id));
}

/** Throws Refusal("last_owner") unless a group that is locked has an owner who may log in besides this user. */
export async function requireOtherOwner(
  sql: GroupSql | SystemSql,
  group: GroupId,
  user: UserId,
  sentence: string,
): Promise<void> {
  const [row] = await (sql as Sql)<{ others: number }>`
    select count(*)::int as others from group_members m join users u on u.id = m.user_id
    where m.group_id = ${group} and m.role = 'owner' and m.user_id <> ${user} and u.status = 'active'
      and u.account_type = 'human'`;
  if ((row?.others ?? 0) === 0) throw new Refusal("last_owner", sentence);
}
