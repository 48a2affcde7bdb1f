import type { SystemSql } from "../postgres/sql.ts";

/**
 * Takes one step towards counting the days of a week whose messages are all finished, and answers whether all of them
 * are counted. Each message is counted once, whatever dies in between; reports that come later change nothing.
 */
export async function countWeek(sql: SystemSql, week: string, portion: number): Promise<boolean> {
  const [row] = await sql<{ isCounted: boolean }>`select count_week(${week}, ${portion}) as is_counted`;
  return row?.isCounted ?? false;
}

/** Forgets what was counted of a week, so that it is counted anew; not of one that is being dropped. */
export async function recountWeek(sql: SystemSql, week: string): Promise<void> {
  await sql`select recount_week(${week})`;
}
