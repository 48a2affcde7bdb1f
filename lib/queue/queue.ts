import type { GroupId, MessageId } from "../ids.ts";

/** A group is a lane of its own, so that one group's backlog delays nobody else (ruling 3.10). */
export interface Doorbell {
  readonly message: MessageId;
  readonly group: GroupId;
}

/** A doorbell that was handed out to ring once, until it is settled or its lease ends. */
export interface Lease extends Doorbell {
  /** Proof of ownership, meaningful only to the queue that issued it. */
  readonly token: string;
}

/** One per doorbell pushed, in order. `doubtful`: no answer came, it may or may not have been pushed. */
export type PushResult = { readonly ok: true } | {
  readonly ok: false;
  readonly doubtful: boolean;
  readonly error: Error;
};

/** The head of one lane, for the sweeper (ruling 3.6). */
export interface LaneHead {
  readonly group: GroupId;
  /** When the entry that would be handed out next was pushed or became due, by the queue's clock. */
  readonly rungAt: Date;
}

/** For a queue in the messages' own database: new doorbells ring in the transaction that stores their rows. */
export interface RowBells {
  /** To be told after each such transaction, so that workers who wait are woken. */
  rang(): void;
}

/** A doorbell: carries ids only, may ring twice or never. The message row is the truth. */
export interface Queue extends AsyncDisposable {
  /** Absent when a doorbell can only ring after its row was stored. */
  readonly rowBells?: RowBells;
  /** Never throws for an outage: each doorbell has its result. */
  push(bells: readonly Doorbell[], delayMs?: number): Promise<readonly PushResult[]>;
  /**
   * Leases up to `max` due messages, taking turns among groups, waiting at most `waitMs` for the first. Throws when the
   * queue is down, but only after it has waited `waitMs` for it to return; answers none once it is closed,
   * and ends the waiting within a second when the signal is aborted.
   */
  reserve(
    max: number,
    waitMs: number,
    skip?: ReadonlySet<GroupId>,
    signal?: AbortSignal,
  ): Promise<readonly Lease[]>;
  /** Throws when the queue is down, as `again` does: the doorbell will ring once more, or the sweeper finds its row. */
  done(lease: Lease): Promise<void>;
  /** Due again after `delayMs`. A lease never settled becomes due by expiring. */
  again(lease: Lease, delayMs: number): Promise<void>;
  depth(): Promise<{ readonly due: number; readonly delayed: number; readonly leased: number }>;
  /** The oldest due entry of every lane that has one; a lane not named is empty. */
  heads(): Promise<readonly LaneHead[]>;
  /** The mark of this queue's contents, new after they were lost; undefined when there is none yet (ruling 3.6). */
  epoch(): Promise<string | undefined>;
  /** Sets the mark when there is none and answers the one that stands. */
  beginEpoch(candidate: string): Promise<string>;
  /** Resolves when the queue answers, throws when it is down. */
  ping(): Promise<void>;
}
