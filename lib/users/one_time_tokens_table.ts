import type { Role } from "../groups/group.ts";
import type { GroupId, UserId } from "../ids.ts";
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

/** Stores a token. */
export async function insertToken(sql: GroupSql | SystemSql, token: NewToken): Promise<void> {
  const { id, group, createdBy, expiresAt, hash, purpose } = token;
  const invitation = purpose.kind === "invitation" ? purpose : undefined;
  const user = purpose.kind === "password_reset" ? purpose.user : null;
  await (sql as Sql)`
    insert into one_time_tokens (id, group_id, kind, user_id, email, role, token_hash, created_by, expires_at)
    values (${id}, ${group}, ${purpose.kind}, ${user}, ${invitation?.email ?? null}, ${
    invitation?.role ?? null
  },
      ${hexOf(hash)}::bytea, ${createdBy}, ${expiresAt})`;
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

/** Makes a user a member by an invitation to the user's own address; undefined when it holds no longer. */
export async function acceptInvitation(
  sql: SystemSql,
  hash: Uint8Array,
  user: UserId,
): Promise<{ readonly groupId: GroupId; readonly role: Role } | undefined> {
  const [row] = await sql<{ groupId: GroupId; role: Role }>`
    select * from accept_invitation(${hexOf(hash)}::bytea, ${user})`;
  return row;
}

function hexOf(bytes: Uint8Array): string {
  return `\\x${bytes.toHex()}`;
}
