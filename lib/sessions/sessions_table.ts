import type { Role } from "../groups/group.ts";
import { type GroupId, lastId, type UserId } from "../ids.ts";
import type { GroupSql, SystemSql } from "../postgres/sql.ts";

/** A session to be opened; one session is one family of refresh tokens. */
export interface NewSession {
  readonly id: string;
  readonly user: UserId;
  readonly group: GroupId;
  /** SHA-256 of the refresh token. */
  readonly tokenHash: Uint8Array;
  readonly expiresAt: Date;
  readonly address: string;
  readonly userAgent: string | undefined;
}

/** Opens a session and forgets the user's oldest beyond twenty. For the login role, as the next four. */
export async function openSession(sql: SystemSql, session: NewSession): Promise<void> {
  const { id, user, group, tokenHash, expiresAt, address, userAgent } = session;
  await sql`
    select open_session(${id}, ${user}, ${group}, ${hexOf(tokenHash)}::bytea, ${expiresAt}, ${address}::inet,
      ${userAgent ?? null})`;
}

/** What became of a refresh token. */
export type Rotation = "rotated" | "missing" | "reused" | "expired";

/** Exchanges a refresh token's hash for the next one's; a hash of before ends the session: `reused`. */
export async function rotateSession(
  sql: SystemSql,
  id: string,
  oldHash: Uint8Array,
  newHash: Uint8Array,
  expiresAt: Date,
): Promise<Rotation> {
  const [row] = await sql<{ rotation: Rotation }>`
    select rotate_session(${id}, ${hexOf(oldHash)}::bytea, ${
    hexOf(newHash)
  }::bytea, ${expiresAt}) as rotation`;
  return row?.rotation ?? "missing";
}

/** Ends a session; answers whether there was one. */
export async function endSession(sql: SystemSql, id: string, user: UserId): Promise<boolean> {
  return (await sql`select * from end_session(${id}, ${user})`).length > 0;
}

/** What a session may do now. */
export interface LiveSession {
  readonly id: string;
  readonly userId: UserId;
  readonly groupId: GroupId;
  readonly email: string;
  readonly role: Role;
  readonly groupType: "system" | "company";
  /** The user and the group are active. */
  readonly isActive: boolean;
}

/** The sessions of a batch of ids that have not ended. */
export async function findSessions(sql: SystemSql, ids: readonly string[]): Promise<readonly LiveSession[]> {
  return await sql<LiveSession>`select * from find_sessions(${ids}::uuid[])`;
}

/** A session as it is listed. */
export interface SessionEntry {
  readonly id: string;
  readonly userId: UserId;
  readonly ipAddress: string | null;
  readonly userAgent: string | null;
  readonly createdAt: Date;
  readonly refreshedAt: Date;
  readonly expiresAt: Date;
}

/** A page of a group's sessions, newest first, of one user or of all. */
export async function listSessions(
  sql: GroupSql,
  group: GroupId,
  user: UserId | undefined,
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly SessionEntry[]> {
  return await sql<SessionEntry>`
    select id, user_id, host(ip_address) as ip_address, user_agent, created_at, refreshed_at, expires_at from sessions
    where group_id = ${group} and (user_id = ${user ?? null} or ${user ?? null}::uuid is null)
      and id < ${page.after ?? lastId} and expires_at > now()
    order by id desc limit ${page.limit}`;
}

/** Ends a session of a group's, of one user or of anybody; answers whose it was. */
export async function deleteSession(
  sql: GroupSql,
  group: GroupId,
  id: string,
  user: UserId | undefined,
): Promise<UserId | undefined> {
  const [row] = await sql<{ userId: UserId }>`
    delete from sessions where group_id = ${group} and id = ${id}
      and (user_id = ${user ?? null} or ${user ?? null}::uuid is null) returning user_id`;
  return row?.userId;
}

function hexOf(bytes: Uint8Array): string {
  return `\\x${bytes.toHex()}`;
}
