import type { GroupId } from "../ids.ts";
import type { GroupSql } from "../postgres/sql.ts";

/** Messages that a group handed in during one month, by UTC. */
export interface MonthUsage {
  /** The month's first day, such as `2026-11-01`. */
  readonly month: string;
  readonly messages: number;
}

/** What a group may hand in each month, and what it did. */
export interface Usage {
  /** Nought is unlimited. */
  readonly monthlyLimit: number;
  /** The month's first day, by the database's clock. */
  readonly month: string;
  /** When the next month begins, and with it a new count. */
  readonly resetsAt: Date;
  /** The months in which anything was handed in, newest first. */
  readonly months: readonly MonthUsage[];
}

/** A group's use of its limit in this month and the `months` before; undefined when there is no such group. */
export async function findUsage(sql: GroupSql, group: GroupId, months: number): Promise<Usage | undefined> {
  const [found] = await sql<Omit<Usage, "months">>`
    select g.monthly_limit, (date_trunc('month', now(), 'UTC') at time zone 'UTC')::date::text as month,
      date_trunc('month', now(), 'UTC') + interval '1 month' as resets_at
    from groups g where g.id = ${group}`;
  if (found === undefined) return undefined;
  const used = await sql<MonthUsage>`
    select month::text as month, messages from usage where group_id = ${group} order by month desc limit ${
    months + 1
  }`;
  return { ...found, months: used };
}
