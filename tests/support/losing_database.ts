import type { Database } from "../../lib/postgres/database.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";

/** What becomes of one statement: sent and answered, sent without the answer coming back, or never sent. */
export type Fate = "answered" | "answer lost" | "never sent";

/** The same database, whose statements outside of transactions have the fate that `fateOf` says for their text. */
export function losingDatabase(database: Database, fateOf: (text: string) => Fate | Promise<Fate>): Database {
  const system = async (template: TemplateStringsArray, ...values: readonly unknown[]) => {
    const fate = await fateOf(template.join("?"));
    if (fate === "never sent") throw new Error("Connection terminated unexpectedly");
    const rows = await database.system(template, ...values);
    if (fate === "answer lost") throw new Error("Connection terminated unexpectedly");
    return rows;
  };
  return { ...database, system: system as SystemSql };
}
