import type { Database } from "./database.ts";

/** What a service must know of the database before it works with it. */
export interface DatabaseFinding {
  readonly severity: "wait" | "warn" | "refuse";
  readonly problem: string;
}

/** The schema versions this program works with. */
export interface SchemaRange {
  readonly oldest: number;
  readonly newest: number;
}

interface Facts {
  readonly version: number | null;
  readonly superuser: boolean;
  readonly bypass: boolean;
  readonly owns: boolean;
  readonly fsync: string;
  readonly synchronousCommit: string;
}

/**
 * Looks whether the schema fits this program, whether the login is as powerless as it should be, and whether a
 * commit is durable (rulings 1.25, 3.8, 3.21). Throws when the database cannot be asked.
 */
export async function examineDatabase(
  database: Database,
  range: SchemaRange,
  mode: { readonly development: boolean; readonly durable: boolean },
): Promise<readonly DatabaseFinding[]> {
  const there = await database.system<{ there: boolean }>`
    select to_regclass('schema_migrations') is not null as there`;
  if (!there[0]?.there) return [{ severity: "wait", problem: "The schema has not been migrated yet" }];
  const [facts] = await database.system<Facts>`
    select (select max(version) from schema_migrations) as version,
      exists (select from pg_roles m where m.rolsuper and pg_has_role(r.oid, m.oid, 'MEMBER')) as superuser,
      exists (select from pg_roles m where m.rolbypassrls and pg_has_role(r.oid, m.oid, 'MEMBER')) as bypass,
      exists (
        select from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'S', 'v', 'm')
          and pg_has_role(r.oid, c.relowner, 'MEMBER')) as owns,
      current_setting('fsync') as fsync, current_setting('synchronous_commit') as synchronous_commit
    from pg_roles r where r.rolname = session_user`;
  return facts ? judge(facts, range, mode) : [{ severity: "refuse", problem: "The login has no role" }];
}

function judge(
  facts: Facts,
  range: SchemaRange,
  mode: { readonly development: boolean; readonly durable: boolean },
): readonly DatabaseFinding[] {
  const findings: DatabaseFinding[] = [];
  const version = facts.version ?? 0;
  if (version < range.oldest) {
    const problem = `The schema is at version ${version} and this program needs ${range.oldest}`;
    findings.push({ severity: "wait", problem });
  }
  if (version > range.newest) {
    const problem = `The schema is at version ${version} and this program knows none above ${range.newest}`;
    findings.push({ severity: "refuse", problem });
  }
  if (facts.superuser || facts.bypass || facts.owns) {
    const problem =
      "The database login is, or may become, a superuser, one that bypasses row-level security or one that owns a table";
    findings.push({ severity: mode.development ? "warn" : "refuse", problem });
  }
  if (mode.durable && (facts.fsync !== "on" || facts.synchronousCommit === "off")) {
    const problem = `A commit would not be durable: fsync is ${facts.fsync}, synchronous_commit is ` +
      facts.synchronousCommit;
    findings.push({ severity: "refuse", problem });
  }
  return findings;
}
