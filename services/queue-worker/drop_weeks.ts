import { firstIdAt, type MessageId } from "../../lib/ids.ts";
import { dropWeek, findKept, listWeeks, type Week } from "../../lib/messages/retention_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { sleepFor } from "../../lib/retry.ts";
import { countWeek, recountWeek } from "../../lib/usage/usage_days_table.ts";
import { firstId } from "./give_up_bodies.ts";

/** What the removal of old rows works with. */
export interface WeekParts {
  readonly sql: SystemSql;
  readonly rowsMs: number;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
  readonly signal: AbortSignal;
  /** Rows in one step. */
  readonly portion?: number;
  /** Told of each week that is old enough and stays, and of the first message for which it does. */
  readonly onKept?: (week: string, message: MessageId) => void;
}

const defaultPortion = 2000;
const pauseMs = 20;

/**
 * Drops the weeks of messages that ended before their time, with all that belongs to them, once their days are counted;
 * unless one of a week is unfinished or has its body: such a week waits. Nothing can be moved out of it, because the
 * week is part of every id, and ids are known outside; but whatever a message waits for, it has ended by
 * `delivery.max_age`, and its body goes by `retention.failed` after that. Answers the names of those that are gone;
 * throws when others hold a table for so long that waiting would hold them up too, and then goes on where it was the
 * next time.
 */
export async function dropOldWeeks(parts: WeekParts): Promise<readonly string[]> {
  const { sql, rowsMs, nowMs, signal, portion = defaultPortion } = parts;
  const dropped: string[] = [];
  let after = firstId;
  for (const week of await listWeeks(sql, firstIdAt(nowMs - rowsMs))) {
    const kept = await findKeptIn(sql, after, week, signal);
    if (signal.aborted) break;
    if (kept !== undefined) {
      parts.onKept?.(week.name, kept);
      await recountWeek(sql, week.name);
    } else if (await count(sql, week, portion, signal) && await drop(sql, week, portion, signal)) {
      dropped.push(week.name);
    }
    after = week.end;
  }
  return dropped;
}

/** The first message for which a week stays, if there is one. */
async function findKeptIn(
  sql: SystemSql,
  from: string,
  week: Week,
  signal: AbortSignal,
): Promise<MessageId | undefined> {
  let after = from;
  while (!signal.aborted) {
    const { kept, last } = await findKept(sql, after, week.end, defaultPortion);
    if (kept !== undefined || last === undefined) return kept;
    after = last;
  }
  return undefined;
}

async function count(sql: SystemSql, week: Week, portion: number, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    if (await countWeek(sql, week.name, portion)) return true;
    await sleepFor(pauseMs, signal);
  }
  return false;
}

async function drop(sql: SystemSql, week: Week, portion: number, signal: AbortSignal): Promise<boolean> {
  while (!signal.aborted) {
    const step = await dropWeek(sql, week, portion);
    if (step === "week") return true;
    if (step === "kept") return false;
    await sleepFor(pauseMs, signal);
  }
  return false;
}
