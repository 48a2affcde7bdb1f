import type { Migration } from "../../migrations/mod.ts";
import { openSession, type Session } from "./database.ts";
import { isRetryable } from "./faults.ts";

/** What is to be done: up to the newest (or a given) version, or down to a given one. */
export interface MigrateOptions {
  /** The owner's login; it must be able to create roles the first time. */
  readonly url: string;
  readonly migrations: readonly Migration[];
  readonly say?: (line: string) => void;
}

/** One migration and whether it is applied. */
export interface MigrationState {
  readonly version: number;
  readonly name: string;
  readonly appliedAt?: Date;
  /** The text that was applied is not the text in this program. */
  readonly changed: boolean;
}

/** Applies what is missing up to `to` (default: everything), oldest first, one process at a time. */
export async function migrateUp(options: MigrateOptions, to = Number.MAX_SAFE_INTEGER): Promise<number> {
  return await withLock(options, async (session, states) => {
    let applied = 0;
    for (const migration of options.migrations) {
      if (migration.version > to || states.get(migration.version)?.appliedAt) continue;
      options.say?.(`applying ${label(migration)}`);
      await apply(session, migration, migration.up, "insert");
      applied++;
    }
    return applied;
  });
}

/** Takes back every applied migration above `to`, newest first. */
export async function migrateDown(options: MigrateOptions, to: number): Promise<number> {
  return await withLock(options, async (session, states) => {
    let taken = 0;
    for (const migration of [...options.migrations].reverse()) {
      if (migration.version <= to || !states.get(migration.version)?.appliedAt) continue;
      options.say?.(`taking back ${label(migration)}`);
      await apply(session, migration, migration.down, "delete");
      taken++;
    }
    return taken;
  });
}

/** Every migration this program knows, oldest first, and what the database says of it. */
export async function migrationStatus(options: MigrateOptions): Promise<readonly MigrationState[]> {
  await using session = await openSession({ url: options.url });
  return [...(await readStates(session, options.migrations)).values()];
}

async function withLock<T>(
  options: MigrateOptions,
  work: (session: Session, states: ReadonlyMap<number, MigrationState>) => Promise<T>,
): Promise<T> {
  await using session = await openSession({ url: options.url, statementTimeoutMs: 3_600_000 });
  await session.run("select pg_advisory_lock(hashtextextended('smtp_proxy.migrate', 0))");
  await session.run(bookkeeping);
  const states = await readStates(session, options.migrations);
  for (const state of states.values()) {
    if (state.changed) {
      throw new Error(
        `Cannot migrate: ${state.version}_${state.name} was applied with another text than this program has`,
      );
    }
  }
  return await work(session, states);
}

const bookkeeping = `create table if not exists schema_migrations (
  version integer primary key,
  name text not null,
  checksum text not null,
  applied_at timestamptz not null default now()
)`;

async function readStates(
  session: Session,
  migrations: readonly Migration[],
): Promise<Map<number, MigrationState>> {
  const table = await session.run("select to_regclass('schema_migrations') is not null as there");
  const rows = table[0]?.["there"] === true
    ? await session.run("select version, name, checksum, applied_at from schema_migrations")
    : [];
  const applied = new Map(rows.map((row) => [row["version"] as number, row]));
  const states = new Map<number, MigrationState>();
  for (const migration of migrations) {
    const row = applied.get(migration.version);
    const changed = row !== undefined && row["checksum"] !== await checksum(migration);
    const state = { version: migration.version, name: migration.name, changed };
    states.set(migration.version, row ? { ...state, appliedAt: row["applied_at"] as Date } : state);
  }
  return states;
}

/** Only the way up is recorded: the way down may be mended later. */
async function checksum(migration: Migration): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(migration.up));
  return new Uint8Array(digest).toHex();
}

/**
 * One transaction for each, under the owner's role. A file marked `-- as login` starts as the login itself; one
 * marked `-- no transaction` (for CREATE INDEX CONCURRENTLY) runs bare. Locks are waited for five seconds, a few times.
 */
async function apply(session: Session, migration: Migration, text: string, record: "insert" | "delete") {
  const owner = /^-- as login$/m.test(text) ? "" : "set local role smtp_proxy_owner;\n";
  const entry = record === "insert"
    ? `insert into schema_migrations (version, name, checksum)
       values (${migration.version}, '${migration.name}', '${await checksum(migration)}')`
    : `delete from schema_migrations where version = ${migration.version}`;
  if (/^-- no transaction$/m.test(text)) {
    for (const statement of text.split(/;\s*$/m)) if (statement.trim()) await session.run(statement);
    await session.run(entry);
    return;
  }
  for (let tries = 1;; tries++) {
    try {
      await session.run(
        `begin; set local lock_timeout = '5s'; ${owner}${text}\n; reset role; ${entry}; commit`,
      );
      return;
    } catch (error) {
      await session.run("rollback");
      if (isRetryable(error) && tries < 5) continue;
      throw new Error(`Cannot apply ${label(migration)}`, { cause: error });
    }
  }
}

function label(migration: Migration): string {
  return `${String(migration.version).padStart(3, "0")}_${migration.name}`;
}
