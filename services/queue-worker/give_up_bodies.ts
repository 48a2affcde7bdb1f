import { firstIdAt } from "../../lib/ids.ts";
import { portionsOf } from "../../lib/messages/id_span.ts";
import {
  type BodyTerms,
  findDueBodies,
  type GivenUpBody,
  giveUpBodies,
  shortestKeeping,
} from "../../lib/messages/retention_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";

/** What the removal of bodies works with. */
export interface BodyParts {
  readonly sql: SystemSql;
  readonly store: Pick<MessageStore, "remove">;
  readonly terms: BodyTerms;
  /** Milliseconds since 1970; only where to look depends on it, the rest is PostgreSQL's clock. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
  /** Messages in one step. */
  readonly pageSize?: number;
}

/** The id before all others: where a walk through all messages begins. */
export const firstId = "00000000-0000-0000-0000-000000000000";

const defaultPage = 2000;
const atOnce = 64;
/** Between steps, so that a walk through all messages leaves the database to others. */
const pauseMs = 5;
/** Most messages are finished within this time of being accepted; of the others the walks through all take care. */
const slackMs = 600_000;

/**
 * Gives up the bodies that need not be kept any longer, of messages accepted after an id: first by a committed row, so
 * that nobody sends the message again, then in the store. Answers how many and where the next walk may begin. Throws
 * when the store or the database fails; what was given up and not removed is then a body that no message names.
 */
export async function giveUpDueBodies(parts: BodyParts, from: string): Promise<GivenUp> {
  const { sql, terms, nowMs, signal, pageSize = defaultPage } = parts;
  const shortestMs = await shortestKeeping(sql, terms);
  const before = firstIdAt(nowMs - shortestMs);
  let after = from;
  let count = 0;
  while (!signal.aborted) {
    const page = await findDueBodies(sql, after, before, terms, pageSize);
    for (const due of portionsOf(page.due)) {
      const bodies = await giveUpBodies(sql, due, terms);
      count += bodies.length;
      await removeBodies(parts.store, bodies);
    }
    if (page.last === undefined) break;
    after = page.last;
    await sleepFor(pauseMs, signal);
  }
  const settled = firstIdAt(nowMs - shortestMs - slackMs);
  return { count, next: after < settled ? after : settled };
}

/** How a walk went. */
export interface GivenUp {
  readonly count: number;
  readonly next: string;
}

/** Removes bodies from their store; throws the first failure after the others. */
async function removeBodies(
  store: Pick<MessageStore, "remove">,
  bodies: readonly GivenUpBody[],
): Promise<void> {
  const { failures } = await removeAll(store, bodies);
  if (failures.length > 0) throw failures[0];
}

/** How removals went. */
export interface Removed {
  readonly count: number;
  readonly failures: readonly unknown[];
}

/** Removes bodies from their store, a bounded number at a time; gives up when very many of them fail. */
export async function removeAll(
  store: Pick<MessageStore, "remove">,
  bodies: readonly Pick<GivenUpBody, "ref">[],
): Promise<Removed> {
  const refs = bodies.map(({ ref }) => ref).filter((ref) => ref !== "inline");
  const failures: unknown[] = [];
  let count = 0;
  for (let at = 0; at < refs.length && failures.length < atOnce; at += atOnce) {
    const ends = await Promise.allSettled(refs.slice(at, at + atOnce).map((ref) => store.remove(ref)));
    const failed = ends.filter((end) => end.status === "rejected");
    failures.push(...failed.map(({ reason }) => reason));
    count += ends.length - failed.length;
  }
  return { count, failures };
}
