import type { Role } from "../groups/group.ts";
import { type GroupId, lastId, type UserId } from "../ids.ts";
import { violatedConstraint } from "../postgres/faults.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";
import { Refusal } from "../refusal.ts";
import type { AccountType, User, UserStatus } from "./user.ts";

/** A user as it is listed. */
export interface UserEntry extends Omit<User, "username"> {
  readonly username: string | null;
  readonly lastLogin: Date | null;
  readonly createdAt: Date;
  readonly updatedAt: Date;
}

/** A page of users, newest first: of a group, or for operators of all groups. */
export async function listUsers(
  sql: GroupSql | SystemSql,
  group: GroupId | undefined,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly UserEntry[]> {
  const before = page.after ?? lastId;
  if (group === undefined) {
    return await (sql as Sql)<UserEntry>`
      select id, email, username, account_type, status, allowed_domains, last_login, created_at, updated_at
      from users where status <> 'deleted' and id < ${before} order by id desc limit ${page.limit}`;
  }
  return await (sql as Sql)<UserEntry>`
    select u.id, u.email, u.username, u.account_type, u.status, u.allowed_domains, u.last_login, u.created_at,
      u.updated_at
    from group_members m join users u on u.id = m.user_id
    where m.group_id = ${group} and m.user_id < ${before} and u.status <> 'deleted'
    order by m.user_id desc limit ${page.limit}`;
}

/** One user: of a group, or for operators of any. */
export async function findUser(
  sql: GroupSql | SystemSql,
  group: GroupId | undefined,
  id: UserId,
): Promise<UserEntry | undefined> {
  const [user] = await (sql as Sql)<UserEntry>`
    select id, email, username, account_type, status, allowed_domains, last_login, created_at, updated_at from users u
    where id = ${id} and status <> 'deleted' and (${group ?? null}::uuid is null or exists (
      select from group_members m where m.user_id = u.id and m.group_id = ${group ?? null}))`;
  return user;
}

/** Creates a user; throws Refusal("email_taken") when the address or the user name is somebody's. */
export async function createUser(
  sql: GroupSql | SystemSql,
  user: User,
  passwordHash: string | null,
): Promise<void> {
  try {
    await sql`
      insert into users (id, email, username, account_type, password_hash, status, allowed_domains)
      values (${user.id}, ${user.email}, ${user.username ?? null}, ${user.accountType}, ${passwordHash},
        ${user.status}, ${JSON.stringify(user.allowedDomains)}::jsonb)`;
  } catch (error) {
    throw takenOr(error);
  }
}

/** What of a user may be changed; what is not given stays. */
export interface UserChange {
  readonly email?: string | undefined;
  readonly username?: string | undefined;
  readonly status?: UserStatus | undefined;
  readonly allowedDomains?: readonly string[] | undefined;
}

/** Changes a user; throws Refusal("email_taken"). */
export async function updateUser(
  sql: GroupSql | SystemSql,
  group: GroupId | undefined,
  id: UserId,
  change: UserChange,
): Promise<void> {
  const domains = change.allowedDomains === undefined ? null : JSON.stringify(change.allowedDomains);
  try {
    await (sql as Sql)`
      update users u set email = coalesce(${change.email ?? null}, email),
        username = coalesce(${change.username ?? null}, username), status = coalesce(${
      change.status ?? null
    }, status),
        allowed_domains = coalesce(${domains}::jsonb, allowed_domains), updated_at = now()
      where id = ${id} and (${group ?? null}::uuid is null or exists (
        select from group_members m where m.user_id = u.id and m.group_id = ${group ?? null}))`;
  } catch (error) {
    throw takenOr(error);
  }
}

/**
 * Removes a user from everywhere but the history: the address and the name become free, memberships, keys and
 * sessions go. What the user sent and did keeps its id.
 */
export async function removeUser(sql: GroupSql | SystemSql, id: UserId): Promise<void> {
  await (sql as Sql)`
    update users set status = 'deleted', email = id || '@deleted.invalid', allowed_domains = '[]',
      username = case when username is not null then 'deleted ' || id end, updated_at = now() where id = ${id}`;
  await (sql as Sql)`delete from group_members where user_id = ${id}`;
}

/** A user's memberships that the role may see, by group. */
export async function listMemberships(
  sql: GroupSql | SystemSql,
  id: UserId,
): Promise<readonly { readonly groupId: GroupId; readonly role: Role; readonly accountType: AccountType }[]> {
  return await (sql as Sql)<{ groupId: GroupId; role: Role; accountType: AccountType }>`
    select group_id, role, account_type from group_members where user_id = ${id} order by group_id`;
}

/** Whether the group of this transaction alone has a user, and may so decide about the user itself. */
export async function isOursAlone(sql: GroupSql, id: UserId): Promise<boolean> {
  const [row] = await sql<{ ours: boolean }>`select user_is_ours_alone(${id}) as ours`;
  return row?.ours ?? false;
}

/** Sets the password of a member whom the group alone has, or who does it; ends the user's other sessions. */
export async function setMemberPassword(
  sql: GroupSql,
  id: UserId,
  hash: string,
  own: { readonly session: string } | undefined,
): Promise<boolean> {
  const [row] = await sql<{ done: boolean }>`
    select set_member_password(${id}, ${hash}, ${own?.session ?? null}, ${own !== undefined}) as done`;
  return row?.done ?? false;
}

/** Sets anybody's password and ends every session of the user; for operators. */
export async function setAnyPassword(sql: SystemSql, id: UserId, hash: string): Promise<void> {
  await sql`update users set password_hash = ${hash}, updated_at = now() where id = ${id}`;
  await sql`select end_user_sessions(${id})`;
}

function takenOr(error: unknown): unknown {
  const constraint = violatedConstraint(error);
  if (constraint === "users_email") {
    return new Refusal("email_taken", "email already in use", { field: "email" });
  }
  if (constraint === "users_username") {
    return new Refusal("email_taken", "email already in use", { field: "username" });
  }
  return error;
}
