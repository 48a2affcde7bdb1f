import { coalesce, type CoalesceOptions, type ItemResult, TooManyWaiting } from "../../lib/coalesce.ts";
import type { MessageId } from "../../lib/ids.ts";
import { mostIds } from "../../lib/messages/id_span.ts";
import { withoutTexts } from "../../lib/messages/bare_settlement.ts";
import { type ClaimAnswer, claimMessages } from "../../lib/messages/claims_table.ts";
import { type CallStart, startCalls } from "../../lib/messages/delivery_logs_table.ts";
import {
  findSettled,
  plainOf,
  settleAll,
  type Settled,
  type Settlement,
} from "../../lib/messages/outcomes_table.ts";
import { type PlainSettlement, settlePlain } from "../../lib/messages/plain_outcomes_table.ts";
import type { Database } from "../../lib/postgres/database.ts";
import {
  type Addressed,
  findSuppressed,
  type SuppressionReason,
} from "../../lib/suppressions/suppressions_table.ts";
import { isAnswerLost, isOutage, isRetryable, isTimeout } from "../../lib/postgres/faults.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Metrics } from "../../lib/telemetry/metrics.ts";
import type { KeptClaims } from "./keep_claims.ts";

/** What the records need. */
export interface RecordsOptions {
  readonly database: Database;
  readonly claims: KeptClaims;
  /** See `holderOf`. */
  readonly holder: string;
  readonly leaseMs: number;
  readonly metrics: Metrics;
  readonly log: Log;
}

/** What a recipient's change takes at most, about: a batch is bounded by the recipients in it. */
const recipientBytes = 800;
const firstPauseMs = 50;
const longestPauseMs = 1000;

/**
 * The durable steps of a delivery, each a batch shared by all deliveries of the process (ruling 3.13). While the
 * database is down they wait and try again until the signal they are given is aborted; then they throw.
 */
export class Records {
  readonly #options: RecordsOptions;
  readonly #claim: (id: MessageId) => Promise<ClaimAnswer>;
  readonly #start: (start: CallStart) => Promise<boolean>;
  readonly #findSuppressed: (addressed: Addressed) => Promise<ReadonlyMap<string, SuppressionReason>>;
  // Batches of their own: each is one statement, so that a batch that fails has written nothing.
  readonly #settlePlain: (settlement: PlainSettlement) => Promise<boolean>;
  readonly #settleAny: (settlement: Settlement) => Promise<Settled | undefined>;

  constructor(options: RecordsOptions) {
    this.#options = options;
    const { database } = options;
    this.#claim = coalesce((ids) => this.#claimAll(ids), this.#batches("claims"));
    this.#start = coalesce(async (starts) => {
      const begun = await startCalls(database.system, starts);
      return starts.map(({ call }) => done(begun.has(call)));
      // Calls are written down ahead of their turn: they can wait for company.
    }, { ...this.#batches<CallStart>("calls"), gapMs: 4 });
    this.#findSuppressed = coalesce(
      async (items) => (await findSuppressed(database.system, items)).map(done),
      { ...this.#batches<Addressed>("suppressions"), bytesOf: ({ addresses }) => addresses.length * 320 },
    );
    this.#settlePlain = coalesce(async (settlements) => {
      const settled = await settlePlain(database.system, settlements);
      return settlements.map(({ message }) => done(settled.has(message)));
    }, {
      ...this.#batches<PlainSettlement>("settlements"),
      maxItems: mostIds,
      bytesOf: ({ recipients }) => recipients * recipientBytes,
    });
    this.#settleAny = coalesce(
      async (settlements) => (await settleAll(database.system, settlements)).map(done),
      {
        ...this.#batches<Settlement>("settlements"),
        maxItems: mostIds,
        bytesOf: ({ changes }) => changes.length * recipientBytes,
      },
    );
  }

  /** Claims a message; what is claimed is renewed from now on. */
  async claim(id: MessageId, signal: AbortSignal): Promise<ClaimAnswer> {
    return await this.#patiently(() => this.#claim(id), signal);
  }

  /** Of a message's addresses those that its group does not send to. */
  async findSuppressed(
    addressed: Addressed,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, SuppressionReason>> {
    return await this.#patiently(() => this.#findSuppressed(addressed), signal);
  }

  /** Writes a call down before it is made; false when it must not be made. */
  async startCall(start: CallStart, signal: AbortSignal): Promise<boolean> {
    return await this.#patiently(() => this.#start(start), signal);
  }

  /** Writes down what became of a message; undefined when its claim is lost and nothing was written. */
  async settle(settlement: Settlement, signal: AbortSignal): Promise<Settled | undefined> {
    const isEnd = settlement.then !== "go on";
    const { claims } = this.#options;
    if (isEnd) claims.ending(settlement.claim);
    const settled = await this.#settleSomehow(settlement, signal);
    if (isEnd || settled === undefined) claims.drop(settlement.claim);
    return settled;
  }

  /** What was done is written down whatever a service said of it: if need be without what it said. */
  async #settleSomehow(settlement: Settlement, signal: AbortSignal): Promise<Settled | undefined> {
    try {
      return await this.#settleWhole(settlement, signal);
    } catch (error) {
      if (signal.aborted || isPassing(error)) throw error;
      this.#options.log.error("a settlement is written without its texts", {
        messageId: settlement.message,
        error,
      });
      return await this.#settleWhole(withoutTexts(settlement), signal);
    }
  }

  async #settle(settlement: Settlement): Promise<Settled | undefined> {
    const plain = plainOf(settlement);
    if (plain !== undefined && await this.#settlePlain(plain)) return { status: "delivered", delayMs: 0 };
    return await this.#settleAny(settlement);
  }

  async #settleWhole(settlement: Settlement, signal: AbortSignal): Promise<Settled | undefined> {
    let isDoubtful = false;
    return await this.#patiently(async () => {
      try {
        return await this.#settle(settlement) ??
          (isDoubtful ? await findSettled(this.#options.database.system, settlement) : undefined);
      } catch (error) {
        if (isAnswerLost(error)) isDoubtful = true;
        throw error;
      }
    }, signal);
  }

  async #claimAll(ids: readonly MessageId[]): Promise<readonly ItemResult<ClaimAnswer>[]> {
    const { database, claims, holder, leaseMs } = this.#options;
    const askedAt = performance.now();
    const answers = await claimMessages(database.system, ids, { holder, leaseMs, held: claims.numbers() });
    const taken = new Set<MessageId>();
    return ids.map((id) => {
      const answer = answers.get(id) ?? { kind: "finished" };
      if (answer.kind !== "claimed") return done(answer);
      // Two doorbells of one message in one batch: the second finds it taken.
      if (taken.has(id)) return done({ kind: "busy", forMs: leaseMs });
      taken.add(id);
      claims.take(answer.claim, askedAt);
      return done(answer);
    });
  }

  #batches<Item>(step: "claims" | "suppressions" | "calls" | "settlements"): CoalesceOptions<Item> {
    const { batchSize } = this.#options.metrics.process;
    return { isOutage: befallsAll, onBatch: (size) => batchSize.observe({ step }, size) };
  }

  async #patiently<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let pauseMs = firstPauseMs;; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      try {
        return await work();
      } catch (error) {
        if (signal.aborted || !isPassing(error)) throw error;
        this.#options.log.debug("database step put off", { delayMs: pauseMs, error });
        await sleepFor(pauseMs, signal);
        if (signal.aborted) throw error;
      }
    }
  }
}

function done<T>(value: T): ItemResult<T> {
  return { ok: true, value };
}

/** Errors that say the database could not do it now, not that it cannot be done. */
function isPassing(error: unknown): boolean {
  if (error instanceof TooManyWaiting) return true;
  if (error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError) return false;
  return isOutage(error) || isRetryable(error) || isTimeout(error);
}

/** Whether an error is no single item's: what took too long may be one message's many recipients, or a lock on it. */
function befallsAll(error: unknown): boolean {
  return isPassing(error) && !isTimeout(error);
}
