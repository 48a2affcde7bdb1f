import { coalesce, type ItemResult, TooManyWaiting } from "../../lib/coalesce.ts";
import type { MessageId } from "../../lib/ids.ts";
import {
  findStored,
  insertMessages,
  type InsertVerdict,
  type NewMessage,
  type RingAttempt,
} from "../../lib/messages/messages_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { CommitInDoubt, isOutage, isTimeout } from "../../lib/postgres/faults.ts";
import type { RowBells } from "../../lib/queue/queue.ts";
import { Refusal } from "../../lib/refusal.ts";
import { sleepFor } from "../../lib/retry.ts";

/** Makes the row of a kept body; durable when it resolves. Throws a Refusal. */
export type RecordMessage = (message: NewMessage) => Promise<Recorded>;

/** Under which id the message stands, and whether its doorbell is still to be rung. */
export interface Recorded {
  readonly id: MessageId;
  readonly needsBell: boolean;
  /** The right to give the message up when it cannot be rung for; without it the row stays queued (ruling 3.3). */
  readonly attempt?: RingAttempt;
}

/** What recording needs to know. */
export interface RecordOptions {
  readonly database: Database;
  readonly resubmissionWindowMs: number;
  /** Rings for new messages in the transaction that stores them, where the queue can. */
  readonly bells?: RowBells;
  /** How long a COMMIT without an answer is asked after (ruling 3.3). */
  readonly doubtMs?: number;
  readonly now?: () => Date;
  readonly onBatch?: (size: number) => void;
  /** Told of each doorbell that rang with its row. */
  readonly onRing?: () => void;
  readonly onDoubt?: (count: number) => void;
  readonly onResubmission?: (kind: "accepted" | "revived") => void;
}

/** Rows are written in batches; each message has its own verdict. */
export function recordMessage(options: RecordOptions): RecordMessage {
  const insert = coalesce<NewMessage, Verdict>((items) => insertOrAsk(items, options), {
    bytesOf: (item) => 1_000 + 200 * item.submission.recipients.length + 2 * (item.inlineBody?.length ?? 0),
    laneOf: (item) => item.submission.group,
    isOutage: (error) => isOutage(error) || isTimeout(error),
    // A transaction costs as much as ten rows of it.
    gapMs: 2,
    ...(options.onBatch && { onBatch: options.onBatch }),
  });
  return async (message) => {
    try {
      const verdict = await insert(message);
      if (verdict.kind === "resubmitted") options.onResubmission?.(verdict.revived ? "revived" : "accepted");
      if (verdict.kind === "stored" && verdict.hasRung) options.onRing?.();
      return outcomeOf(verdict, message.submission.id, options.now?.() ?? new Date());
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw databaseDown(error);
    }
  };
}

/** A row found after a doubtful COMMIT may be promised to a later try by now, so that one has no attempt. */
type Verdict = InsertVerdict | { readonly kind: "found" };

function databaseDown(cause: unknown): Refusal {
  const message = cause instanceof TooManyWaiting
    ? "Too many messages are being accepted, please try again later"
    : "The message could not be recorded, please try again later";
  return new Refusal("database_down", message, { cause });
}

async function insertOrAsk(
  items: readonly NewMessage[],
  options: RecordOptions,
): Promise<readonly ItemResult<Verdict>[]> {
  try {
    const verdicts = await insertMessages(
      options.database,
      items,
      options.resubmissionWindowMs,
      options.bells,
    );
    return verdicts.map((value) => ({ ok: true, value }));
  } catch (error) {
    if (!(error instanceof CommitInDoubt)) throw error;
    options.onDoubt?.(items.length);
    return await askAgain(items, error, options);
  }
}

/** A row that is there was committed; one that is not, or cannot be asked after, is the client's to send again. */
async function askAgain(
  items: readonly NewMessage[],
  doubt: CommitInDoubt,
  options: RecordOptions,
): Promise<readonly ItemResult<Verdict>[]> {
  const ids = items.map((item) => item.submission.id);
  const deadline = performance.now() + (options.doubtMs ?? 5_000);
  for (;;) {
    try {
      const stored = await findStored(options.database.system, ids);
      return ids.map((id) =>
        stored.has(id) ? { ok: true, value: { kind: "found" } } : { ok: false, error: databaseDown(doubt) }
      );
    } catch (error) {
      const refusal = databaseDown(error);
      if (performance.now() > deadline) return ids.map(() => ({ ok: false, error: refusal }));
      await sleepFor(100);
    }
  }
}

function outcomeOf(verdict: Verdict, id: MessageId, now: Date): Recorded {
  switch (verdict.kind) {
    case "found":
      return { id, needsBell: true };
    case "stored":
      return { id, needsBell: !verdict.hasRung, ...(verdict.attempt && { attempt: verdict.attempt }) };
    case "resubmitted":
      return {
        id: verdict.id,
        needsBell: verdict.needsBell,
        ...(verdict.attempt && { attempt: verdict.attempt }),
      };
    case "over_quota":
      throw quotaReached(verdict.limit, now);
    case "no_counter":
      throw databaseDown(new Error("The group has no counter for this month"));
    case "group_inactive":
      throw new Refusal("account_suspended", "This account is suspended");
  }
}

/** Says how much is allowed and when there is room again: on the first of the next month, UTC. */
export function quotaReached(limit: number, now: Date): Refusal {
  const reset = new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() + 1, 1));
  const day = reset.toISOString().slice(0, 10);
  return new Refusal("quota_reached", `Monthly limit of ${limit} messages reached; resets ${day}`);
}
