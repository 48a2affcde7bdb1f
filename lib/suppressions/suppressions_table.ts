import { type GroupId, lastId, type UserId } from "../ids.ts";
import type { GroupSql, SystemSql } from "../postgres/sql.ts";
import { Refusal } from "../refusal.ts";

/** Why an address is not sent to. */
export type SuppressionReason = "bounce" | "complaint" | "unsubscribe" | "manual";

/** An address that a group does not send to. */
export interface Suppression {
  readonly id: string;
  /** Lower case, the domain as A-labels. */
  readonly address: string;
  readonly reason: SuppressionReason;
  readonly note: string | null;
  readonly createdAt: Date;
  /** Null for what a service reported, and for who is gone. */
  readonly createdBy: UserId | null;
}

/** What of a suppression is chosen. */
export interface NewSuppression {
  /** As `parseMailbox` writes it: from then on it is compared in any case. */
  readonly address: string;
  readonly reason: SuppressionReason;
  readonly note: string | undefined;
  readonly createdBy: UserId;
}

const tries = 3;
/** Addresses on one group's list, beside those that services report. */
const mostSuppressions = 1_000_000;

/**
 * Suppresses an address; what was suppressed before stays as it is and is answered with `isNew` false. Throws
 * Refusal("too_many") for an address more than a group may have.
 */
export async function addSuppression(
  sql: GroupSql,
  group: GroupId,
  { address, reason, note, createdBy }: NewSuppression,
  most = mostSuppressions,
): Promise<{ readonly entry: Suppression; readonly isNew: boolean }> {
  // Another may take it off the list between the two.
  for (let n = 0; n < tries; n++) {
    const [added] = await sql<Suppression>`
      insert into suppressions (group_id, address, reason, note, created_by)
      values (${group}, lower(${address}), ${reason}, ${note ?? null}, ${createdBy})
      on conflict (group_id, address) do nothing
      returning id, address, reason, note, created_at, created_by`;
    if (added !== undefined) {
      await refuseMore(sql, group, most);
      return { entry: added, isNew: true };
    }
    const [known] = await listSuppressions(sql, group, { address }, { limit: 1 });
    if (known !== undefined) return { entry: known, isNew: false };
  }
  throw new Error("Cannot suppress an address: others add and remove it all the time");
}

/** Suppresses many addresses as `addSuppression` does one, and answers how many of them were not on the list. */
export async function addSuppressions(
  sql: GroupSql,
  group: GroupId,
  { addresses, reason, note, createdBy }: Omit<NewSuppression, "address"> & {
    readonly addresses: readonly string[];
  },
  most = mostSuppressions,
): Promise<number> {
  // In one order, so that two who name the same addresses never wait for each other crosswise.
  const added = await sql`
    insert into suppressions (group_id, address, reason, note, created_by)
    select ${group}, address, ${reason}, ${note ?? null}, ${createdBy}
    from (select distinct lower(given) collate "C" as address from unnest(${addresses}::text[]) given) as a
    order by address
    on conflict (group_id, address) do nothing returning id`;
  if (added.length > 0) await refuseMore(sql, group, most);
  return added.length;
}

/** Ends the transaction of whoever added more than there may be. */
async function refuseMore(sql: GroupSql, group: GroupId, most: number): Promise<void> {
  const more =
    await sql`select from suppressions where group_id = ${group} order by address offset ${most} limit 1`;
  if (more.length > 0) {
    throw new Refusal(
      "too_many",
      `a group suppresses at most ${most} addresses: take some off the list first`,
    );
  }
}

/** A page of a group's suppressions, newest first. */
export async function listSuppressions(
  sql: GroupSql,
  group: GroupId,
  filter: { readonly address?: string | undefined; readonly reason?: SuppressionReason | undefined },
  page: { readonly after?: string; readonly limit: number },
): Promise<readonly Suppression[]> {
  const { address, reason } = filter;
  const before = page.after ?? lastId;
  if (address !== undefined) {
    return await sql<Suppression>`
      select id, address, reason, note, created_at, created_by from suppressions
      where group_id = ${group} and address = lower(${address}) and id < ${before}
        and (reason = ${reason ?? null} or ${reason ?? null}::text is null)
      order by id desc limit ${page.limit}`;
  }
  if (reason !== undefined) {
    return await sql<Suppression>`
      select id, address, reason, note, created_at, created_by from suppressions
      where group_id = ${group} and reason = ${reason} and id < ${before}
      order by id desc limit ${page.limit}`;
  }
  return await sql<Suppression>`
    select id, address, reason, note, created_at, created_by from suppressions
    where group_id = ${group} and id < ${before}
    order by id desc limit ${page.limit}`;
}

/** Takes an address off the list; undefined when there is none of this id. */
export async function removeSuppression(
  sql: GroupSql,
  group: GroupId,
  id: string,
): Promise<Suppression | undefined> {
  const [gone] = await sql<Suppression>`
    delete from suppressions where id = ${id} and group_id = ${group}
    returning id, address, reason, note, created_at, created_by`;
  return gone;
}

/** Addresses that a message of a group names. */
export interface Addressed {
  readonly group: GroupId;
  readonly addresses: readonly string[];
}

/** Of each item those of its addresses that its group does not send to, as they were given, with the reason. */
export async function findSuppressed(
  sql: SystemSql,
  items: readonly Addressed[],
): Promise<readonly ReadonlyMap<string, SuppressionReason>[]> {
  const asked = items.flatMap(({ group, addresses }, n) =>
    addresses.map((address) => ({ n, group, address }))
  );
  const rows = await sql<{ n: number; address: string; reason: SuppressionReason }>`
    select a.n, a.address, s.reason
    from unnest(${asked.map(({ n }) => n)}::integer[], ${asked.map(({ group }) => group)}::uuid[],
        ${asked.map(({ address }) => address)}::text[]) as a (n, group_id, address)
      cross join lateral (
        select s.reason from suppressions s where s.group_id = a.group_id and s.address = lower(a.address) offset 0) s`;
  const found = items.map(() => new Map<string, SuppressionReason>());
  for (const { n, address, reason } of rows) found[n]?.set(address, reason);
  return found;
}
