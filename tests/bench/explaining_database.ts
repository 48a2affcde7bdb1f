import type { Database, Session } from "../../lib/postgres/database.ts";
import { camelRow, type GroupSql, type Sql, statementOf, type SystemSql } from "../../lib/postgres/sql.ts";

/** What EXPLAIN ANALYZE said of one statement. */
export interface Look {
  readonly statement: string;
  readonly ms: number;
  /** Pages touched. */
  readonly buffers: number;
  /** Large tables that were read from their beginning. */
  readonly wholeTables: readonly string[];
}

interface Plan {
  readonly "Node Type": string;
  readonly "Relation Name"?: string;
  readonly "Actual Rows"?: number;
  readonly "Shared Hit Blocks"?: number;
  readonly "Shared Read Blocks"?: number;
  readonly Plans?: readonly Plan[];
}

const large =
  /^(messages|recipients|delivery_logs|delivery_events|queue_entries|queue_delayed)(_\d{4}w\d\d)?$/;

/** A database that explains each statement and takes it back, before it runs it. */
export function explainingDatabase(session: Session, tell: (look: Look) => void): Database {
  const sql: Sql = async <Row>(template: TemplateStringsArray, ...values: readonly unknown[]) => {
    const { text } = statementOf(template);
    await session.run("begin");
    const [answer] = await session.query(
      `explain (analyze, buffers, timing off, format json) ${text}`,
      values,
    );
    await session.run("rollback");
    tell(lookAt(text, answer?.["QUERY PLAN"] as readonly Explained[]));
    return (await session.query(text, values)).map(camelRow) as unknown as readonly Row[];
  };
  return {
    system: sql as SystemSql,
    transaction: (work) => work(sql as SystemSql),
    forGroup: (_, work) => work(sql as GroupSql),
    listen: () => ({ [Symbol.asyncDispose]: () => Promise.resolve() }),
    tryLock: () => Promise.resolve(undefined),
    connections: () => ({ active: 1, idle: 0, waiting: 0 }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

interface Explained {
  readonly Plan: Plan;
  readonly "Execution Time": number;
}

function lookAt(statement: string, [explained]: readonly Explained[]): Look {
  if (explained === undefined) throw new Error("Cannot read the plan: the server gave none");
  const nodes = [...nodesOf(explained.Plan)];
  const root = explained.Plan;
  return {
    statement,
    ms: explained["Execution Time"],
    buffers: (root["Shared Hit Blocks"] ?? 0) + (root["Shared Read Blocks"] ?? 0),
    wholeTables: nodes
      .filter((node) => node["Node Type"] === "Seq Scan" && large.test(node["Relation Name"] ?? ""))
      .map((node) => node["Relation Name"] ?? ""),
  };
}

function* nodesOf(plan: Plan): Generator<Plan> {
  yield plan;
  for (const child of plan.Plans ?? []) yield* nodesOf(child);
}
