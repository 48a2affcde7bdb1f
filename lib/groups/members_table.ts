import type { GroupId, UserId } from "../ids.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { AccountType } from "../users/user.ts";
import type { Role } from "./group.ts";

/** One user's membership in one group. */
export interface Member {
  readonly group: GroupId;
  readonly user: UserId;
  readonly accountType: AccountType;
  readonly role: Role;
}

/** Makes a user a member, or leaves the membership as it is; an SMTP account can be in one group only. */
export async function insertMember(
  sql: SystemSql,
  { group, user, accountType, role }: Member,
): Promise<void> {
  await sql`
    insert into group_members (group_id, user_id, account_type, role)
    values (${group}, ${user}, ${accountType}, ${role}) on conflict (group_id, user_id) do nothing`;
}

/** Whether a group has an owner, whatever the owner's status. */
export async function hasOwner(sql: SystemSql, group: GroupId): Promise<boolean> {
  const rows = await sql`select 1 from group_members where group_id = ${group} and role = 'owner' limit 1`;
  return rows.length > 0;
}
