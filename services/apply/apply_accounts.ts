import { changesBetween, maskedChange } from "../../lib/activity/changes.ts";
import { addMember } from "../../lib/groups/member_entries_table.ts";
import { newId, type UserId } from "../../lib/ids.ts";
import type { Database } from "../../lib/postgres/database.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { Refusal } from "../../lib/refusal.ts";
import { findLogin } from "../../lib/users/logins_table.ts";
import { hashPassword, verifyPassword } from "../../lib/users/password.ts";
import { requireWithin } from "../../lib/users/sender_domains.ts";
import {
  createUser,
  findUser,
  listUsers,
  removeUser,
  setAnyPassword,
  updateUser,
  type UserEntry,
} from "../../lib/users/user_entries_table.ts";
import { findUserByEmail } from "../../lib/users/users_table.ts";
import type { Job } from "./job.ts";
import type { AccountWish, GroupWish } from "./document.ts";

/** New hashes by address, for accounts whose password is not yet the one that the file names. */
export type NewHashes = ReadonlyMap<string, string>;

/** Hashes what is to change, before the transaction, because each password takes a tenth of a second. */
export async function newHashesOf(logins: Database, wishes: readonly AccountWish[]): Promise<NewHashes> {
  const hashes = new Map<string, string>();
  for (const { email, password } of wishes) {
    if (password === undefined) continue;
    const kept = (await findLogin(logins.system, email))?.passwordHash ?? undefined;
    if (kept === undefined || !await verifyPassword(password, kept)) {
      hashes.set(email, await hashPassword(password));
    }
  }
  return hashes;
}

/**
 * Makes the group's SMTP accounts what they are to be, and answers which id an address or id in a rule stands for.
 * Accounts are known by their address; one that is somebody else's is refused.
 */
export async function applyAccounts(
  job: Job,
  sql: SystemSql,
  { accounts, rules }: GroupWish,
  hashes: NewHashes,
): Promise<(emailOrId: string) => UserId | undefined> {
  const ids = new Map<string, UserId>();
  for (const wish of accounts ?? []) ids.set(wish.email.toLowerCase(), await apply(job, sql, wish, hashes));
  if (accounts !== undefined && job.world.mayPrune) await prune(job, sql, new Set(ids.values()));
  for (const name of rules?.flatMap(accountsIn) ?? []) {
    const id = await findUserByEmail(sql, name) ?? name as UserId;
    if (ids.has(name.toLowerCase()) || !isUuid.test(id)) continue;
    const found = await findUser(sql, job.group.id, id);
    if (found?.accountType === "smtp") ids.set(name.toLowerCase(), found.id);
  }
  return (text) => ids.get(text.toLowerCase());
}

const isUuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

function accountsIn({ conditions }: { readonly conditions: Readonly<Record<string, unknown>> }): string[] {
  const given = conditions["smtp_account"];
  return (Array.isArray(given) ? given : [given]).filter((one) => typeof one === "string");
}

async function apply(job: Job, sql: SystemSql, wish: AccountWish, hashes: NewHashes): Promise<UserId> {
  const { world, group } = job;
  if (world.requireGroupDomains) requireWithin(wish.allowedDomains ?? [], group.allowedDomains);
  const known = await findUserByEmail(sql, wish.email);
  if (known === undefined) return await create(job, sql, wish, hashes);
  const before = await findUser(sql, group.id, known);
  if (before?.accountType !== "smtp") {
    throw new Refusal("email_taken", `account ${wish.email}: the address is somebody else's`);
  }
  const { username, status, allowedDomains } = wish;
  const after = { username, status, "allowed_domains": allowedDomains };
  const changes = changesBetween(factsOf(before), { ...factsOf(before), ...given(after) });
  if (Object.keys(changes).length > 0) {
    await updateUser(sql, undefined, known, { username, status, allowedDomains });
  }
  const hash = hashes.get(wish.email);
  if (hash !== undefined) await setAnyPassword(sql, known, hash);
  const all = { ...changes, ...hash !== undefined && { password: maskedChange } };
  if (Object.keys(all).length > 0) await tell(job, sql, "admin.update_user", known, wish.email, all);
  return known;
}

async function create(job: Job, sql: SystemSql, wish: AccountWish, hashes: NewHashes): Promise<UserId> {
  const id = newId<UserId>();
  const { email, username = email, status = "active", allowedDomains = [] } = wish;
  const accountType = "smtp";
  await createUser(
    sql,
    { id, email, username, accountType, status, allowedDomains },
    hashes.get(email) ?? null,
  );
  await addMember(sql, {
    id: newId<never>() as string,
    groupId: job.group.id,
    userId: id,
    accountType,
    role: "member",
  });
  await tell(job, sql, "admin.create_user", id, email, { email, "account_type": accountType });
  return id;
}

async function prune(job: Job, sql: SystemSql, named: ReadonlySet<UserId>): Promise<void> {
  let after: UserId | undefined;
  do {
    const page = await listUsers(sql, job.group.id, { limit: 200, ...after !== undefined && { after } });
    for (const user of page) {
      if (user.accountType !== "smtp" || named.has(user.id)) continue;
      await tell(job, sql, "admin.delete_user", user.id, user.email, { email: [user.email, null] });
      await removeUser(sql, user.id);
    }
    after = page.at(-1)?.id;
  } while (after !== undefined);
}

async function tell(
  { ledger }: Job,
  sql: SystemSql,
  action: string,
  id: UserId,
  name: string,
  changes: Readonly<Record<string, unknown>>,
): Promise<void> {
  await ledger.note(sql, { action, resourceType: "user", resourceId: id, name, changes });
}

function factsOf({ username, status, allowedDomains }: UserEntry): Readonly<Record<string, unknown>> {
  return { username, status, "allowed_domains": allowedDomains };
}

function given(values: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
}
