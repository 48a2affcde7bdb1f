import type { RecipientOutcome } from "../../lib/esp/outcome.ts";
import type { Claim } from "../../lib/messages/claims_table.ts";
import type { Recipient } from "../../lib/messages/message.ts";
import type { RecipientChange, Settled, Settlement } from "../../lib/messages/outcomes_table.ts";
import type { Span } from "../../lib/telemetry/tracing.ts";
import type { Crew } from "./crew.ts";
import { Interrupted } from "./interrupted.ts";
import { judge, type Judgement, type Obstacle, postpone } from "./judge.ts";

/** One claimed message on its way. */
export interface Delivery {
  readonly claim: Claim;
  /** Aborted when the claim is lost or the process stops. */
  readonly signal: AbortSignal;
  /** Time left of the lease. */
  leftMs(): number;
  /** When it was claimed, by `performance.now()`. */
  readonly claimedAt: number;
  readonly crew: Crew;
  /** From 0 to 1, the same for all recipients: whoever is put off together is due together, and goes in one call. */
  readonly jitter: number;
  /** Absent while nothing is traced. */
  readonly span?: Span;
}

/** Why a recipient is not served now: a call's outcome, or that no call could be made. */
export type Verdict =
  | { readonly outcome: RecipientOutcome; readonly unknown: "retry" | "hold" }
  | { readonly obstacle: Obstacle; readonly forMs?: number };

/** Writes a step down; throws `Interrupted` when the claim is lost. */
export async function settle(
  { claim, crew, signal }: Delivery,
  step:
    & Pick<Settlement, "then">
    & Partial<Pick<Settlement, "calls" | "changes" | "delayMs" | "error" | "ofDroppedClaim">>,
): Promise<Settled> {
  const settled = await crew.records.settle({
    message: claim.message.id,
    claim: claim.number,
    calls: [],
    changes: [],
    ...step,
  }, crew.stopped);
  if (settled !== undefined) return settled;
  // A loss that the renewal has found is counted already.
  const isKnown = signal.reason instanceof Interrupted && signal.reason.why === "claim_lost";
  if (!isKnown) crew.metrics.worker.claimsLost.add();
  throw new Interrupted("claim_lost");
}

/** Ends the claim because nobody can be served now, for a reason that is the whole message's. */
export async function putOff(delivery: Delivery, obstacle: Obstacle, forMs?: number): Promise<Settled> {
  const { recipients } = delivery.claim.message;
  const verdict = forMs === undefined ? { obstacle } : { obstacle, forMs };
  const changes = recipients.map((recipient) => changeFor(delivery, recipient, verdict));
  return await settle(delivery, { then: "conclude", changes });
}

/** What a verdict makes of a recipient; counts what waits and what will be sent a second time. */
export function changeFor(
  delivery: Delivery,
  recipient: Recipient,
  verdict: Verdict,
): RecipientChange {
  const { crew, claim, claimedAt } = delivery;
  const random = () => delivery.jitter;
  const trial = {
    attempt: recipient.attempts + 1,
    ageMs: claim.ageMs + performance.now() - claimedAt,
    ...(recipient.lastDelayMs !== undefined && { lastDelayMs: recipient.lastDelayMs }),
    ...(recipient.lastCause !== undefined && { lastCause: recipient.lastCause }),
  };
  if ("obstacle" in verdict) {
    const { obstacle, forMs } = verdict;
    const judgement = postpone(obstacle, trial, crew.terms, forMs, random);
    crew.metrics.worker.waits.add({ cause: obstacle === "needs_attention" ? "credentials" : obstacle });
    return {
      ...changeOf(recipient, judgement),
      waitCause: obstacle,
      fault: { code: obstacle, detail: obstacleTexts.get(obstacle) ?? obstacle },
    };
  }
  const { outcome, unknown } = verdict;
  const judgement = judge(outcome, { ...trial, unknown }, crew.terms, random);
  if (outcome.kind === "wait") crew.metrics.worker.waits.add({ cause: outcome.cause });
  if (outcome.kind === "unknown" && judgement.status === "pending") {
    crew.metrics.worker.resent.add({ reason: "unknown" });
  }
  return {
    ...changeOf(recipient, judgement),
    kind: outcome.kind,
    ...(outcome.kind === "wait" && { waitCause: outcome.cause }),
    ...(outcome.kind !== "accepted" && { fault: outcome.fault }),
    ...(judgement.status === "failed" && { attemptSpent: outcome.kind !== "wait" }),
  };
}

const obstacleTexts: ReadonlyMap<Obstacle, string> = new Map([
  ["breaker_open", "The provider failed several times in a row and rests"],
  ["needs_attention", "The provider's credentials or configuration have to be repaired"],
  ["paused", "Delivery is paused"],
  ["suspended", "The group is suspended"],
  ["no_provider", "The group has no enabled provider"],
  ["store_down", "The body store cannot be reached"],
]);

function changeOf({ id }: Recipient, judgement: Judgement): RecipientChange {
  switch (judgement.status) {
    case "accepted":
      return { recipient: id, status: "accepted", attemptSpent: true };
    case "refused":
    case "unknown":
      return { recipient: id, status: judgement.status, failure: judgement.status, attemptSpent: true };
    case "pending":
      return {
        recipient: id,
        status: "pending",
        delayMs: judgement.delayMs,
        attemptSpent: judgement.attemptSpent,
      };
    case "failed":
      return { recipient: id, status: "failed", failure: judgement.code, attemptSpent: false };
  }
}
