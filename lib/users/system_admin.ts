import { recordActivity } from "../activity/activity_table.ts";
import { findSystemGroup, insertGroup } from "../groups/groups_table.ts";
import { hasOwner, insertMember } from "../groups/members_table.ts";
import { type GroupId, newId, type UserId } from "../ids.ts";
import type { Database } from "../postgres/database.ts";
import { findUserByEmail, insertUser } from "./users_table.ts";

/** The administrator as configured. */
export interface AdminSettings {
  readonly email: string;
  /** Makes the password's hash; called only when the administrator has to be created. */
  readonly passwordHash: () => Promise<string>;
}

/**
 * Creates the system group and the configured administrator as its owner, unless the group has an owner already: who
 * exists keeps address and password. Several processes may do it at once. Answers whether it created one.
 */
export async function ensureSystemAdmin(database: Database, settings: AdminSettings): Promise<boolean> {
  if (await findUserByEmail(database.system, settings.email) !== undefined) return false;
  const existing = await findSystemGroup(database.system);
  if (existing !== undefined && await hasOwner(database.system, existing.id)) return false;
  const hash = await settings.passwordHash();
  return await database.transaction(async (sql) => {
    await insertGroup(sql, {
      id: newId<GroupId>(),
      name: "system",
      groupType: "system",
      status: "active",
      monthlyLimit: 0,
      allowedDomains: ["*"],
    });
    const group = await findSystemGroup(sql);
    if (group === undefined) {
      throw new Error("Cannot create the administrator: a company's group is named system");
    }
    const user = {
      id: newId<UserId>(),
      email: settings.email,
      accountType: "human",
      status: "active",
      allowedDomains: [],
    } as const;
    if (!(await insertUser(sql, user, hash))) return false;
    await insertMember(sql, { group: group.id, user: user.id, accountType: "human", role: "owner" });
    await recordActivity(sql, {
      group: group.id,
      actor: undefined,
      actorGroup: undefined,
      action: "admin.create_user",
      resourceType: "user",
      resourceId: user.id,
      changes: { email: user.email, "account_type": "human", role: "owner" },
      comment: "the first administrator, by the server's settings",
      address: undefined,
      correlationId: undefined,
    });
    return true;
  });
}
