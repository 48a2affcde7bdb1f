import type { Session } from "./database.ts";

/** As their connections are named. */
const services = ["smtp-server", "queue-worker", "api-server"];
/** The connections of a service that has just ended are gone within moments. */
const looks = 8;
const pauseSeconds = 0.25;

/**
 * One transaction in which the owner of the tables sees all of their rows, which its own statements otherwise do not
 * (ruling 3.8). It locks the tables until its end, and what it is for takes whatever is under way for left over, so it
 * throws while a service is connected. `tables` are names as they stand in SQL.
 */
export async function withoutRowSecurity<T>(
  owner: Session,
  tables: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  await requireStandstill(owner);
  await owner.run("begin");
  try {
    await owner.run("set local lock_timeout = '5s'; set local role smtp_proxy_owner");
    for (const table of tables) await owner.run(`alter table ${table} no force row level security`);
    const result = await work();
    for (const table of tables) await owner.run(`alter table ${table} force row level security`);
    await owner.run("commit");
    return result;
  } catch (error) {
    await owner.run("rollback");
    throw error;
  }
}

async function requireStandstill(owner: Session): Promise<void> {
  for (let look = 1;; look++) {
    const rows = await owner.query(
      `select distinct application_name as name from pg_stat_activity
        where datname = current_database() and application_name = any($1) order by 1`,
      [services],
    );
    if (rows.length === 0) return;
    if (look === looks) {
      const names = rows.map((row) => row["name"]).join(", ");
      throw new Error(`Cannot touch rows of all groups while services run: stop ${names} first`);
    }
    await owner.query("select pg_sleep($1)", [pauseSeconds]);
  }
}
