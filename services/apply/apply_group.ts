import { changesBetween } from "../../lib/activity/changes.ts";
import {
  createGroup,
  findGroup,
  type GroupEntry,
  updateGroup,
  updateGroupLimits,
} from "../../lib/groups/group_entries_table.ts";
import { findGroupByName } from "../../lib/groups/groups_table.ts";
import { lockGroups } from "../../lib/groups/member_entries_table.ts";
import { type GroupId, newId } from "../../lib/ids.ts";
import type { GroupSql, SystemSql } from "../../lib/postgres/sql.ts";
import { Refusal } from "../../lib/refusal.ts";
import { applyAccounts, type NewHashes, newHashesOf } from "./apply_accounts.ts";
import { allowCredentials, applyProviders, pruneProviders } from "./apply_providers.ts";
import { applyRules } from "./apply_rules.ts";
import type { GroupWish } from "./document.ts";
import type { ApplyWorld } from "./job.ts";
import { Ledger } from "./ledger.ts";

/**
 * Makes one group and what belongs to it what a file says, in one transaction, and answers a line for each change;
 * none when everything was so before. A dry run makes every change too, and takes all of them back. Throws Refusal
 * when something stands against it, and then nothing is changed.
 */
export async function applyGroup(world: ApplyWorld, wish: GroupWish): Promise<readonly string[]> {
  const hashes = await newHashesOf(world.logins, wish.accounts ?? []);
  try {
    return await world.database.transaction(async (sql) => {
      const lines = await change(world, sql, wish, hashes);
      if (world.isDryRun) throw new TakenBack(lines);
      return lines;
    });
  } catch (error) {
    if (error instanceof TakenBack) return error.lines;
    throw error;
  }
}

/** Ends the transaction of a dry run. */
class TakenBack extends Error {
  constructor(readonly lines: readonly string[]) {
    super("The changes of a dry run are taken back");
  }
}

async function change(
  world: ApplyWorld,
  sql: SystemSql,
  wish: GroupWish,
  hashes: NewHashes,
): Promise<readonly string[]> {
  const id = (await findGroupByName(sql, wish.name))?.id ?? newId<GroupId>();
  const ledger = new Ledger(id, wish.name, world.run);
  const group = await applyItself(world, sql, id, wish, ledger);
  const job = { world, group, ledger };
  const accounts = await applyAccounts(job, sql, wish, hashes);
  const members = await actFor(sql, id);
  const providers = await applyProviders(job, members, wish.providers ?? []);
  await applyRules(job, members, wish.rules, providers, accounts);
  await pruneProviders(job, members, wish.providers);
  await allowCredentials(job, await actAsOperator(sql), wish.providers ?? [], providers);
  return ledger.lines;
}

async function applyItself(
  world: ApplyWorld,
  sql: SystemSql,
  id: GroupId,
  wish: GroupWish,
  ledger: Ledger,
): Promise<GroupEntry> {
  await lockGroups(sql, [id]);
  const before = await findGroup(sql, id);
  if (before?.groupType === "system") {
    throw new Refusal("system_group_protected", "the operator's own group is not changed by a file");
  }
  // It was found by its name before it was locked.
  if (before !== undefined && before.name !== wish.name) {
    throw new Refusal("conflict", `the group was renamed to ${before.name} meanwhile`);
  }
  if (before?.status === "deleted") throw new Refusal("name_taken", "a group of this name was deleted");
  // Networks are stored in their shortest form: only afterwards it shows whether anything is other than it was.
  await sql`savepoint before_group`;
  if (before === undefined) {
    const { name, monthlyLimit = world.defaultMonthlyLimit, allowedDomains = [] } = wish;
    await createGroup(sql, {
      id,
      name,
      groupType: "company",
      status: "active",
      monthlyLimit,
      allowedDomains,
    });
  }
  if (wish.allowedIps !== undefined) await updateGroup(sql, id, { allowedIps: wish.allowedIps });
  await updateGroupLimits(sql, id, wish);
  const after = await findGroup(sql, id);
  if (after === undefined) throw new Error("A group that was just written cannot be found");
  const changes = before === undefined ? factsOf(after) : changesBetween(factsOf(before), factsOf(after));
  if (before !== undefined && Object.keys(changes).length === 0) {
    await sql`rollback to savepoint before_group`;
    return before;
  }
  const action = before === undefined ? "admin.create_group" : "admin.update_group";
  await ledger.note(sql, { action, resourceType: "group", resourceId: id, name: wish.name, changes });
  return after;
}

function factsOf(group: GroupEntry): Readonly<Record<string, unknown>> {
  return {
    name: group.name,
    status: group.status,
    "monthly_limit": group.monthlyLimit,
    "allowed_domains": group.allowedDomains,
    "allowed_ips": group.allowedIps,
  };
}

/** From here on the transaction has the rights of the group alone. */
async function actFor(sql: SystemSql, group: GroupId): Promise<GroupSql> {
  await sql`set local role smtp_proxy_group`;
  await sql`select set_config('app.current_group_id', ${group}, true)`;
  return sql as unknown as GroupSql;
}

async function actAsOperator(sql: SystemSql): Promise<SystemSql> {
  await sql`set local role smtp_proxy_admin`;
  return sql;
}
