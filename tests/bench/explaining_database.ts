import type { Database, Session } from "../../lib/postgres/database.ts";
import { camelRow, type GroupSql, type Sql, statementOf, type SystemSql } from "../../lib/postgres/sql.ts";

/** What EXPLAIN ANALYZE said of one statement. */
export interface Look {
  readonly statement: string;
  readonly ms: number;
  /** Pages touched. */
  readonly buffers: number;
  /** Large tables that were read from their beginning, also by a function. */
  readonly wholeTables: readonly string[];
  /** Rows and index entries that were read of large tables, also by a function. */
  readonly entries: number;
  /** Rows that the plan's steps handed on or sorted out, all together. */
  readonly handled: number;
}

interface Plan {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Actual Rows"?: number;
  readonly "Actual Loops"?: number;
  readonly "Rows Removed by Filter"?: number;
  readonly "Rows Removed by Join Filter"?: number;
  readonly "Shared Hit Blocks"?: number;
  readonly "Shared Read Blocks"?: number;
  readonly Plans?: readonly Plan[];
}

const largeTables = "^((messages|recipients|delivery_logs|delivery_events|queue_entries|queue_delayed)" +
  "(_([0-9]{4}w[0-9]{2}|old|older))?|suppressions|refused_submissions|usage_daily)$";
const large = new RegExp(largeTables);

/**
 * A database that explains each statement and takes it back, before it runs it. As services do it makes the plan once,
 * without knowing the values: EXPLAIN of a statement with values would plan for these.
 */
export function explainingDatabase(session: Session, tell: (look: Look) => void): Database {
  const plans = new Map<string, string>();
  const sql: Sql = async <Row>(template: TemplateStringsArray, ...values: readonly unknown[]) => {
    const { text } = statementOf(template);
    const plan = plans.get(text) ?? `explained_${plans.size}`;
    if (!plans.has(text)) await session.run(`prepare ${plan} as ${text}`);
    plans.set(text, plan);
    await session.run("begin");
    const before = await readOf(session);
    const given = values.length === 0 ? "" : `(${values.map(literalOf).join(", ")})`;
    const [answer] = await session.run(
      `explain (analyze, buffers, timing off, format json) execute ${plan} ${given}`,
    );
    const after = await readOf(session);
    await session.run("rollback");
    tell(lookAt(text, answer?.["QUERY PLAN"] as readonly Explained[], { before, after }));
    return (await session.query(text, values)).map(camelRow) as unknown as readonly Row[];
  };
  return {
    system: sql as SystemSql,
    transaction: (work) => work(sql as SystemSql),
    forGroup: (_, work) => work(sql as GroupSql),
    reading: () => sql as GroupSql,
    finding: () => sql as GroupSql,
    listen: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    tryLock: () => Promise.resolve(undefined),
    connections: () => ({ active: 1, idle: 0, waiting: 0 }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** A value of a statement as SQL has it. */
function literalOf(value: unknown): string {
  if (value === null || value === undefined) return "null";
  const text = Array.isArray(value) ? `{${value.map(elementOf).join(",")}}` : textOf(value);
  return `'${text.replaceAll("'", "''")}'`;
}

function elementOf(value: unknown): string {
  if (value === null || value === undefined) return "null";
  return `"${textOf(value).replaceAll(/[\\"]/g, "\\$&")}"`;
}

function textOf(value: unknown): string {
  if (value instanceof Date) return value.toISOString();
  return value instanceof Uint8Array ? `\\x${value.toHex()}` : String(value);
}

interface Explained {
  readonly Plan: Plan;
  readonly "Execution Time": number;
}

/** What the session has read of one large table. */
interface TableRead {
  readonly scans: number;
  readonly entries: number;
}

/**
 * What the session has read of large tables, by its own counters: a plan does not show what is read within a function.
 * They may hold transactions before this one, so that it is the difference of two that counts.
 */
async function readOf(session: Session): Promise<ReadonlyMap<string, TableRead>> {
  const rows = await session.query(
    `select t.relname as name, coalesce(pg_stat_get_xact_numscans(t.oid), 0)::float8 as scans,
      (coalesce(pg_stat_get_xact_tuples_returned(t.oid), 0) + coalesce((
        select sum(pg_stat_get_xact_tuples_returned(i.indexrelid)) from pg_index i where i.indrelid = t.oid), 0)
      )::float8 as entries
    from pg_class t where t.relkind = 'r' and t.relname ~ $1`,
    [largeTables],
  );
  return new Map(rows.map((row) => [
    String(row["name"]),
    { scans: Number(row["scans"]), entries: Number(row["entries"]) },
  ]));
}

interface Reads {
  readonly before: ReadonlyMap<string, TableRead>;
  readonly after: ReadonlyMap<string, TableRead>;
}

function lookAt(statement: string, [explained]: readonly Explained[], { before, after }: Reads): Look {
  if (explained === undefined) throw new Error("Cannot read the plan: the server gave none");
  const nodes = [...nodesOf(explained.Plan)];
  const root = explained.Plan;
  const reads = [...after].map(([name, read]) => ({
    name,
    scans: read.scans - (before.get(name)?.scans ?? 0),
    entries: read.entries - (before.get(name)?.entries ?? 0),
  }));
  const planned = nodes.filter((node) =>
    node["Node Type"] === "Seq Scan" && large.test(node["Relation Name"] ?? "")
  ).map((node) => node["Relation Name"] ?? "");
  const made = reads.filter(({ scans }) => scans > 0).map(({ name }) => name);
  return {
    statement,
    ms: explained["Execution Time"],
    buffers: (root["Shared Hit Blocks"] ?? 0) + (root["Shared Read Blocks"] ?? 0),
    wholeTables: [...new Set([...planned, ...made])],
    entries: reads.reduce((sum, read) => sum + read.entries, 0),
    handled: nodes.reduce((sum, node) => sum + handledBy(node), 0),
  };
}

/** EXPLAIN gives the mean of a step's runs. */
function handledBy(node: Plan): number {
  const rows = (node["Actual Rows"] ?? 0) + (node["Rows Removed by Filter"] ?? 0) +
    (node["Rows Removed by Join Filter"] ?? 0);
  return rows * (node["Actual Loops"] ?? 0);
}

function* nodesOf(plan: Plan): Generator<Plan> {
  yield plan;
  for (const child of plan.Plans ?? []) yield* nodesOf(child);
}
