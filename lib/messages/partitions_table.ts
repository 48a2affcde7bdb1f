import type { SystemSql } from "../postgres/sql.ts";

const weeksAhead = 3;
const dayMs = 24 * 3_600_000;

/** Makes the partitions of the weeks to come; safe to call from every process at any time. */
export async function ensurePartitions(sql: SystemSql): Promise<void> {
  await sql`select ensure_partitions(${weeksAhead})`;
}

/** Makes partitions once a day until disposed; a day that fails is told and made up for by the next. */
export function keepPartitions(sql: SystemSql, onFault: (error: unknown) => void): Disposable {
  const timer = setInterval(() => void ensurePartitions(sql).catch(onFault), dayMs);
  Deno.unrefTimer(timer);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
