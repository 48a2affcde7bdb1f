// @ts-types="@types/pg"
import pg from "pg";
import type { Duplex } from "node:stream";
import { clearAlarm, setAlarm } from "../alarms.ts";
import { withinTime } from "../deadlines.ts";
import type { GroupId } from "../ids.ts";
import { CommitInDoubt, isAnswerLost, isOutage, NoAnswer } from "./faults.ts";
import { mostShared, SharedConnections } from "./shared_connections.ts";
import {
  camelRow,
  type GroupSql,
  type Sql,
  type Statement,
  statementOf,
  type SystemSql,
  withinGroup,
} from "./sql.ts";
import { type Listener, listenForever } from "./listen.ts";

/** How to reach the database and as whom. */
export interface DatabaseOptions {
  /** `postgres://user:password@host:port/name`. */
  readonly url: string;
  /** The role every connection switches to; without it the login's own rights apply. */
  readonly role?: string;
  readonly poolMax?: number;
  /** Connections that stay open however long nobody uses them; others are closed after half a minute. */
  readonly poolMin?: number;
  readonly connectTimeoutMs?: number;
  /** Longest time one statement may take on the server. */
  readonly statementTimeoutMs?: number;
  /** How long the server's answer is waited for, should it hang; a little more than that when not given. */
  readonly answerTimeoutMs?: number;
  /** Shown in pg_stat_activity. */
  readonly applicationName?: string;
  /** Told of errors on connections nobody is using. */
  readonly onIdleError?: (error: Error) => void;
  /** Told of every statement's label and time in seconds, and whether it failed. */
  readonly onStatement?: (label: string, seconds: number, failed: boolean) => void;
}

/** A pool of connections to PostgreSQL as one role. */
export interface Database extends AsyncDisposable {
  readonly system: SystemSql;
  /** Throws `CommitInDoubt` when COMMIT was sent and its answer never came; anything else rolled back. */
  transaction<T>(work: (sql: SystemSql) => Promise<T>): Promise<T>;
  /** A transaction in which row-level security shows one group's rows alone. */
  forGroup<T>(group: GroupId, work: (sql: GroupSql) => Promise<T>): Promise<T>;
  /** Reads one group's rows as `forGroup` does, each statement in a transaction of its own and in one round trip. */
  readonly reading: (group: GroupId) => GroupSql;
  /** As `reading`, for statements that find a few rows by their keys: callers share connections of their own. */
  readonly finding: (group: GroupId) => GroupSql;
  /** Calls `handler` for each notification; `onGap` after any time in which some may have been lost. */
  listen(channel: string, handler: (payload: string) => void, onGap: () => void): AsyncDisposable;
  /** A session-level advisory lock held until disposed; undefined when another session holds it. */
  tryLock(name: string): Promise<HeldLock | undefined>;
  connections(): { readonly active: number; readonly idle: number; readonly waiting: number };
}

/** An advisory lock; `lost` turns true when the connection that held it is gone. */
export interface HeldLock extends AsyncDisposable {
  readonly lost: boolean;
}

pg.types.setTypeParser(pg.types.builtins.INT8, Number);
pg.types.setTypeParser(pg.types.builtins.DATE, (text: string) => text);

/** Opens a pool; connections are made when they are needed, so opening succeeds while the database is down. */
export function openDatabase(options: DatabaseOptions): Database {
  const config = clientConfig(options);
  const pool = new pg.Pool({
    ...config,
    max: options.poolMax ?? 20,
    idleTimeoutMillis: 30_000,
    // The driver would set a timer for each statement and for each connection that is handed back (see setAlarm).
    query_timeout: 0,
    min: options.poolMin ?? 0,
  });
  pool.on("error", (error) => options.onIdleError?.(error));
  // A connection that is in use when it breaks tells its query, and also emits: without a listener that is fatal.
  pool.on("connect", (client) => client.on("error", noteNothing));
  const forFinding = new pg.Pool({ ...config, max: mostShared, idleTimeoutMillis: 30_000 });
  forFinding.on("error", (error) => options.onIdleError?.(error));
  forFinding.on("connect", (client) => client.on("error", noteNothing));
  const found = new SharedConnections<pg.QueryResult>(() => forFinding.connect(), isOutage);
  const ask: Ask = (client, query) => answerTo(client, query, answerMs(options));
  const run: Run = ({ name, text }, values) => askOnce(pool, ask, { name, text, values });
  const system = timed(options, run) as SystemSql;
  return {
    system,
    transaction: (work) => inTransaction(pool, ask, options, undefined, (sql) => work(sql as SystemSql)),
    forGroup: (group, work) => inTransaction(pool, ask, options, group, (sql) => work(sql as GroupSql)),
    reading: (group) => timed(options, confined(run, group)) as GroupSql,
    finding: (group) => timed(options, confined((...asked) => found.query(...asked), group)) as GroupSql,
    listen: (channel, handler, onGap) => listenForever(() => openListener(config), channel, handler, onGap),
    tryLock: (name) => tryLock(config, name),
    connections: () => ({
      active: pool.totalCount - pool.idleCount + forFinding.totalCount - forFinding.idleCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
    }),
    async [Symbol.asyncDispose]() {
      await found.close();
      await Promise.all([forFinding.end(), pool.end()]);
    },
  };
}

function confined(run: Run, group: GroupId): Run {
  return (statement, values) => run(withinGroup(statement, values.length), [...values, group]);
}

/** A server that hangs must not hang us: we give up a little after it should have. */
function answerMs({ statementTimeoutMs = 30_000, answerTimeoutMs }: DatabaseOptions): number {
  return answerTimeoutMs ?? statementTimeoutMs + 5_000;
}

function clientConfig(options: DatabaseOptions): pg.ClientConfig {
  const switches = [
    ...(options.role === undefined ? [] : [`-c role=${options.role}`]),
    `-c statement_timeout=${options.statementTimeoutMs ?? 30_000}`,
    "-c idle_in_transaction_session_timeout=60000",
    // A host that is gone without a word must not keep its locks until the system's two hours are over.
    "-c tcp_keepalives_idle=20",
    "-c tcp_keepalives_interval=5",
    "-c tcp_keepalives_count=4",
    "-c TimeZone=UTC",
    // Every statement of a service finds its rows by an index: a plan that was made and kept while a table was
    // empty must not go on reading the whole of it once it is full.
    "-c enable_seqscan=off",
    "-c enable_hashjoin=off",
    "-c enable_mergejoin=off",
    // And planning a statement over partitions each time costs more than running it.
    "-c plan_cache_mode=force_generic_plan",
    "-c jit=off",
  ];
  return {
    connectionString: options.url,
    options: switches.join(" "),
    application_name: options.applicationName ?? "smtp-proxy",
    connectionTimeoutMillis: options.connectTimeoutMs ?? 5_000,
    query_timeout: answerMs(options),
    keepAlive: true,
    // The system would look only after two hours whether the host of an idle connection is still there.
    keepAliveInitialDelayMillis: 20_000,
    pipeline: true,
  } as pg.ClientConfig;
}

type Run = (statement: Statement, values: unknown[]) => Promise<pg.QueryResult>;
/** Asks on a connection, and no longer than an answer may take. */
type Ask = (client: pg.PoolClient, query: pg.QueryConfig) => Promise<pg.QueryResult>;

/**
 * Told by a callback: with the driver's own promises every answer lived as long as if it were kept (see Crowd). A
 * connection whose answer does not come is cut, because to close it properly would be to wait for the answer; all that
 * was asked on it is told why.
 */
function answerTo(client: pg.PoolClient, query: pg.QueryConfig, limitMs: number): Promise<pg.QueryResult> {
  return new Promise((resolve, reject) => {
    const alarm = setAlarm(limitMs, () => cut(client, new NoAnswer(limitMs)));
    client.query(query, (error, result) => {
      clearAlarm(alarm);
      if (error) reject(error);
      else resolve(result);
    });
  });
}

/** A connection on which something failed is closed. */
async function askOnce(pool: pg.Pool, ask: Ask, query: pg.QueryConfig): Promise<pg.QueryResult> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    return await ask(client, query);
  } catch (error) {
    broken = error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    client.release(broken);
  }
}

function timed(options: DatabaseOptions, run: Run): Sql {
  return async <Row>(template: TemplateStringsArray, ...values: readonly unknown[]) => {
    const start = performance.now();
    const statement = statementOf(template);
    let failed = true;
    try {
      const result = await run(statement, [...values]);
      failed = false;
      return result.rows.map(camelRow) as unknown as readonly Row[];
    } finally {
      options.onStatement?.(statement.label, (performance.now() - start) / 1000, failed);
    }
  };
}

/**
 * BEGIN and the setting are sent without waiting for their answers, so that a transaction whose statements do not
 * wait for each other is one round trip.
 */
async function inTransaction<T>(
  pool: pg.Pool,
  ask: Ask,
  options: DatabaseOptions,
  group: GroupId | undefined,
  work: (sql: Sql) => Promise<T>,
): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    const opening = [ask(client, { text: "begin" })];
    if (group !== undefined) opening.push(ask(client, { text: groupSetting, values: [group] }));
    const opened = Promise.all(opening);
    // Its failure is reported below; here it only must not be called unhandled while the work runs.
    opened.catch(noteNothing);
    let result: T;
    try {
      result = await work(
        timed(options, ({ name, text }, values) => ask(client, { name, text, values })),
      );
      await opened;
    } catch (error) {
      await ask(client, { text: "rollback" }).catch((failure: Error) => broken = failure);
      throw error;
    }
    await commit(ask(client, { text: "commit" })).catch((error: Error) => {
      broken = error;
      throw error;
    });
    return result;
  } finally {
    client.release(broken);
  }
}

const groupSetting = "select set_config('app.current_group_id', $1, true)";

async function commit(asked: Promise<pg.QueryResult>): Promise<void> {
  try {
    const answer = await asked;
    if (answer.command !== "COMMIT") throw new Error(`Cannot commit: the server answered ${answer.command}`);
  } catch (error) {
    if (isAnswerLost(error)) throw new CommitInDoubt("No answer to COMMIT", { cause: error });
    throw error;
  }
}

async function openListener(config: pg.ClientConfig): Promise<Listener> {
  const client = new pg.Client({ ...config, query_timeout: 10_000 });
  const ended = Promise.withResolvers<void>();
  client.on("error", () => ended.resolve());
  client.on("end", () => ended.resolve());
  await client.connect();
  return {
    ended: ended.promise,
    listen: async (channel, handler) => {
      client.on("notification", (notification) => handler(notification.payload ?? ""));
      await client.query(`listen ${pg.escapeIdentifier(channel)}`);
    },
    probe: async () => void await client.query("select 1"),
    close: () => hangUp(client),
  };
}

async function tryLock(config: pg.ClientConfig, name: string): Promise<HeldLock | undefined> {
  const client = new pg.Client(config);
  let lost = false;
  client.on("error", () => lost = true);
  client.on("end", () => lost = true);
  await client.connect();
  let isHeld: boolean;
  try {
    const asked = await client.query("select pg_try_advisory_lock(hashtextextended($1, 0)) as held", [name]);
    isHeld = asked.rows[0]?.held === true;
  } catch (error) {
    await hangUp(client);
    throw error;
  }
  if (!isHeld) {
    await hangUp(client);
    return undefined;
  }
  return {
    get lost() {
      return lost;
    },
    [Symbol.asyncDispose]: () => hangUp(client),
  };
}

/** Ends a connection; one whose server does not hang up in time is cut. */
async function hangUp(client: pg.Client): Promise<void> {
  const ended = client.end().catch(noteNothing);
  await withinTime(hangUpMs, ended).catch(() => cut(client));
}

function cut(client: pg.ClientBase, why?: Error): void {
  (client as unknown as { readonly connection: { readonly stream: Duplex } }).connection.stream.destroy(why);
}

const hangUpMs = 1_000;

/** For promises and emitters whose failure reaches its owner by another way. */
function noteNothing(): void {}

/** One connection of its own, outside any pool, for scripts of several statements: migrations and set-up. */
export interface Session extends AsyncDisposable {
  /** Runs a script as it is; the rows of its last statement come back as the server names them. */
  run(script: string): Promise<readonly Record<string, unknown>[]>;
  query(text: string, values: readonly unknown[]): Promise<readonly Record<string, unknown>[]>;
}

/** Connects once; throws when the database cannot be reached or refuses the login. */
export async function openSession(options: DatabaseOptions): Promise<Session> {
  const client = new pg.Client({ ...clientConfig(options), pipeline: false } as pg.ClientConfig);
  client.on("error", noteNothing);
  await client.connect();
  return {
    async run(script) {
      const result = await client.query(script) as pg.QueryResult | pg.QueryResult[];
      return (Array.isArray(result) ? result.at(-1)?.rows : result.rows) ?? [];
    },
    query: async (text, values) => (await client.query(text, [...values])).rows,
    [Symbol.asyncDispose]: () => client.end(),
  };
}

/** A name as SQL takes it, quoted. */
export function quoteName(name: string): string {
  return pg.escapeIdentifier(name);
}
