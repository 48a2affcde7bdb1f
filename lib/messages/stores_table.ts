import type { SystemSql } from "../postgres/sql.ts";

/** Whether bodies were ever kept in a folder. */
export async function anyStoreKnown(sql: SystemSql): Promise<boolean> {
  const [row] = await sql<{ there: boolean }>`select exists (select from stores) as there`;
  return row?.there ?? false;
}

/** Records the id of a folder that bodies are kept in. */
export async function recordStore(sql: SystemSql, id: string): Promise<void> {
  await sql`insert into stores (id) values (${id}) on conflict do nothing`;
}

/** Lets one process at a time look at a folder and make a store of it, until its transaction ends. */
export async function lockStores(sql: SystemSql): Promise<void> {
  await sql`select pg_advisory_xact_lock(hashtextextended('smtp_proxy.stores', 0))`;
}
