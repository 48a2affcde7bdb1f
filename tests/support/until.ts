import type { Session } from "../../lib/postgres/database.ts";
import { until as isSoInTime } from "../../services/dev/processes.ts";

/** Long enough for any machine: who has waited so long waits for what does not come. */
const limitMs = 120_000;

/** Resolves once it is so; throws what was waited for when it never comes. */
export async function until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
  if (!await isSoInTime(isSo, limitMs)) throw new Error(`Cannot wait any longer until ${what}`);
}

/** Resolves once a statement that matches waits for a lock; the session must be in no transaction, which looks but once. */
export async function untilLockIsAwaited(session: Session, pattern: string): Promise<void> {
  await until(`a statement like ${pattern} waits for a lock`, async () => {
    const waiting = await session.query(
      `select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and query ~ $1`,
      [pattern],
    );
    return waiting.length > 0;
  });
}
