import type { Role } from "../groups/group.ts";
import { type GroupId, lastId, type UserId } from "../ids.ts";
import type { GroupSql, Sql, SystemSql } from "../postgres/sql.ts";

/** A token that an administrator hands over; it holds once and not for long. */
export interface NewToken {
  readonly id: string;
  readonly group: GroupId;
  readonly createdBy: UserId;
  readonly expiresAt: Date;
  /** SHA-256 of the token. */
  readonly hash: Uint8Array;
  readonly purpose:
    | { readonly kind: "invitation"; readonly email: string; readonly role: Role }
    | { readonly kind: "password_reset"; readonly user: UserId };
}

/** Stores a token in the place of an earlier one of the same kind for the same user or address. */
export async function insertToken(sql: GroupSql | SystemSql, token: NewToken): Promise<void> {
  const { id, group, createdBy, expiresAt, hash, purpose } = token;
  const invitation = purpose.kind === "invitation" ? purpose : undefined;
  const user = purpose.kind === "password_reset" ? purpose.user : null;
  await (sql as Sql)`
    delete from one_time_tokens where group_id = ${group} and kind = ${purpose.kind} and used_at is null
      and (user_id = ${user} or lower(email) = lower(${invitation?.email ?? null}))`;
  await (sql as Sql)`
    insert into one_time_tokens (id, group_id, kind, user_id, email, role, token_hash, created_by, expires_at)
    values (${id}, ${group}, ${purpose.kind}, ${user}, ${invitation?.email ?? null}, ${
    invitation?.role ?? null
  },
      ${hexOf(hash)}::bytea, ${createdBy}, ${expiresAt})`;
}

/** An invitation that may still be accepted; the token itself is nowhere. */
export interface InvitationEntry {
  readonly id: string;
  readonly email: string;
  readonly role: Role;
  readonly createdBy: UserId | null;
  readonly expiresAt: Date;
  readonly createdAt: Date;
}

/** A page of a group's open invitations, newest first. */
export async function listInvitations(
  sql: GroupSql | SystemSql,
  group: GroupId,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly InvitationEntry[]> {
  return await (sql as Sql)<InvitationEntry>`
    select id, email, role, created_by, expires_at, created_at from one_time_tokens
    where group_id = ${group} and kind = 'invitation' and used_at is null and expires_at > now()
      and id < ${page.after ?? lastId}
    order by id desc limit ${page.limit}`;
}

/** How many invitations a group has open; certain while the group is locked. */
export async function countInvitations(sql: GroupSql | SystemSql, group: GroupId): Promise<number> {
  const [row] = await (sql as Sql)<{ count: number }>`
    select count(*)::int as count from one_time_tokens
    where group_id = ${group} and kind = 'invitation' and used_at is null and expires_at > now()`;
  return row?.count ?? 0;
}

/** Takes an open invitation of a group's back; undefined when there is none of that id. */
export async function withdrawInvitation(
  sql: GroupSql | SystemSql,
  group: GroupId,
  id: string,
): Promise<Pick<InvitationEntry, "email" | "role"> | undefined> {
  const [row] = await (sql as Sql)<Pick<InvitationEntry, "email" | "role">>`
    delete from one_time_tokens
    where group_id = ${group} and id = ${id} and kind = 'invitation' and used_at is null and expires_at > now()
    returning email, role`;
  return row;
}

/** Whose password a token may set; undefined when it holds no longer. For the login role, as the next two. */
export async function findReset(sql: SystemSql, hash: Uint8Array): Promise<UserId | undefined> {
  const [row] = await sql<{ user: UserId | null }>`select find_reset(${hexOf(hash)}::bytea) as user`;
  return row?.user ?? undefined;
}

/** Sets the password, uses the token up and ends the sessions; answers the group whose administrator handed it over. */
export async function useReset(
  sql: SystemSql,
  hash: Uint8Array,
  passwordHash: string,
): Promise<GroupId | undefined> {
  const [row] = await sql<{ group: GroupId | null }>`
    select use_reset(${hexOf(hash)}::bytea, ${passwordHash}) as group`;
  return row?.group ?? undefined;
}

/**
 * Makes a user a member by an invitation to the user's own address; undefined when it holds no longer, and without
 * `membership` when the user is a member already, who stays as he is.
 */
export async function acceptInvitation(
  sql: SystemSql,
  hash: Uint8Array,
  user: UserId,
): Promise<
  { readonly groupId: GroupId; readonly role: Role; readonly membership: string | null } | undefined
> {
  const [row] = await sql<{ groupId: GroupId; role: Role; membership: string | null }>`
    select * from accept_invitation(${hexOf(hash)}::bytea, ${user})`;
  return row;
}

function hexOf(bytes: Uint8Array): string {
  return `\\x${bytes.toHex()}`;
}
