import type { GroupId, UserId } from "../ids.ts";
import type { Role } from "../groups/group.ts";
import type { SystemSql } from "../postgres/sql.ts";
import type { AccountType, UserStatus } from "./user.ts";

/** A user as logging in needs it. */
export interface Login {
  readonly id: UserId;
  readonly email: string;
  readonly accountType: AccountType;
  readonly status: UserStatus;
  readonly passwordHash: string | null;
}

/** The user of an e-mail address, compared without case; none that was deleted. For the login role. */
export async function findLogin(sql: SystemSql, email: string): Promise<Login | undefined> {
  const [login] = await sql<Login>`select * from find_login(${email})`;
  return login;
}

/** A user in one group, with what must be active for anything to be allowed. */
export interface Membership {
  readonly groupId: GroupId;
  readonly groupType: "system" | "company";
  readonly groupStatus: "active" | "suspended" | "deleted";
  readonly role: Role;
  readonly email: string;
  readonly userStatus: UserStatus;
}

/** A user's membership of a group, or of the first active group that the user joined. For the login role. */
export async function findMembership(
  sql: SystemSql,
  user: UserId,
  group?: GroupId,
): Promise<Membership | undefined> {
  const [membership] = await sql<Membership>`select * from find_membership(${user}, ${group ?? null})`;
  return membership;
}

/** Counts a try to log in; answers the seconds for which nobody may try, 0 when this try may go on. */
export async function beginLogin(
  sql: SystemSql,
  account: string,
  address: string,
  limits: { readonly most: number; readonly lockoutMs: number },
): Promise<number> {
  const [row] = await sql<{ seconds: number }>`
    select begin_login(${account}, ${address}, ${limits.most}, ${
    Math.ceil(limits.lockoutMs / 1000)
  }) as seconds`;
  return row?.seconds ?? 0;
}

/** Forgives the tries of an account from an address that has just logged in. */
export async function forgiveLogin(sql: SystemSql, account: string, address: string): Promise<void> {
  await sql`select forgive_login(${account}, ${address})`;
}

/** Replaces a hash unless the password was changed meanwhile. */
export async function upgradePassword(
  sql: SystemSql,
  user: UserId,
  oldHash: string,
  newHash: string,
): Promise<void> {
  await sql`select upgrade_password(${user}, ${oldHash}, ${newHash})`;
}

/** Tells of a login, a refresh or a logout, where no group may be known; of a session unless it says of what else. */
export async function recordLogin(
  sql: SystemSql,
  event: {
    readonly group: GroupId | undefined;
    readonly actor: UserId | undefined;
    readonly action: string;
    readonly resourceType?: string;
    readonly resourceId?: string | undefined;
    readonly changes: Readonly<Record<string, unknown>>;
    readonly address: string;
    readonly correlationId: string;
  },
): Promise<void> {
  const { group = null, actor = null, action, changes, address, correlationId } = event;
  const { resourceType = "session", resourceId = null } = event;
  await sql`
    select tell_login(${group}, ${actor}, ${action}, ${resourceType}, ${resourceId}, ${
    JSON.stringify(changes)
  }::jsonb,
      ${address}::inet, ${correlationId})`;
}

/** A user's hash, for the user's own change of the password. */
export async function findOwnPassword(sql: SystemSql, user: UserId): Promise<string | undefined> {
  const [row] = await sql<{ hash: string | null }>`select find_own_password(${user}) as hash`;
  return row?.hash ?? undefined;
}
