import type { RecipientOutcome } from "../../lib/esp/outcome.ts";

/** What becomes of one recipient. */
export type Judgement =
  | { readonly status: "accepted" | "refused" | "unknown" }
  | { readonly status: "pending"; readonly delayMs: number; readonly attemptSpent: boolean }
  | { readonly status: "failed"; readonly code: "exhausted" | "expired" | "crashed" };

/** What keeps a message from being sent without anybody having been called. */
export type Obstacle =
  | "breaker_open"
  | "paused"
  | "suspended"
  | "no_provider"
  | "store_down"
  | "needs_attention";

/** The settings that judgements follow. */
export interface Terms {
  /** Waits between attempts, so there is one attempt more than waits. */
  readonly retryDelaysMs: readonly number[];
  /** Age at which a message that still waits has failed. */
  readonly maxAgeMs: number;
}

/** How far a recipient has come. */
export interface Trial {
  /** This attempt's number, from 1. */
  readonly attempt: number;
  /** Time since the message was accepted. */
  readonly ageMs: number;
  /** How long the recipient was put off the last time, if it was. */
  readonly lastDelayMs?: number;
  /** What it was put off for then; absent when an attempt was spent. */
  readonly lastCause?: string;
  /** What the provider's owner wants when nobody knows whether it was sent (ruling 3.12). */
  readonly unknown: "retry" | "hold";
}

const second = 1000;
const minute = 60 * second;
const longestNamedWaitMs = 360 * minute;
const shortestWaitMs = second;
const longestWaitMs = 15 * minute;
/**
 * Does not grow: reading a body takes four tries over seven seconds, so a store that stays down is asked seldom anyway,
 * and mail must not wait for minutes once it is back.
 */
const storeDownMs = 30 * second;

/** Judges a call's outcome by the table of ruling 3.4; delays get up to a fifth on top, so that crowds disperse. */
export function judge(
  outcome: RecipientOutcome,
  trial: Trial,
  terms: Terms,
  random: () => number = Math.random,
): Judgement {
  switch (outcome.kind) {
    case "accepted":
    case "refused":
      return { status: outcome.kind };
    case "unknown":
      return trial.unknown === "hold" ? { status: "unknown" } : again(undefined, trial, terms, random);
    case "retry":
      return again(outcome.afterMs, trial, terms, random);
    case "wait":
      return wait(waitAfter(outcome, trial), trial, terms, random);
  }
}

/** Judges a recipient nobody was called for; `forMs` is how long the obstacle will stand, where that is known. */
export function postpone(
  obstacle: Obstacle,
  trial: Pick<Trial, "ageMs" | "lastDelayMs">,
  terms: Terms,
  forMs?: number,
  random: () => number = Math.random,
): Judgement {
  const delayMs = obstacle === "store_down" ? storeDownMs : forMs ?? minute;
  return wait(Math.max(delayMs, shortestWaitMs), trial, terms, random);
}

function again(afterMs: number | undefined, trial: Trial, terms: Terms, random: () => number): Judgement {
  const scheduled = terms.retryDelaysMs[trial.attempt - 1];
  if (scheduled === undefined) return { status: "failed", code: "exhausted" };
  // A server may ask for more patience than the schedule has, not for all attempts within seconds.
  const delayMs = jittered(Math.max(named(afterMs) ?? 0, scheduled), random);
  return { status: "pending", delayMs, attemptSpent: true };
}

function waitAfter(outcome: Extract<RecipientOutcome, { kind: "wait" }>, trial: Trial): number {
  const given = named(outcome.afterMs);
  if (given !== undefined) return Math.max(given, shortestWaitMs);
  switch (outcome.cause) {
    case "throttled":
      return doubled(lastDelayFor(outcome.cause, trial), 5 * second);
    case "sender":
      return doubled(lastDelayFor(outcome.cause, trial), minute);
    case "unavailable":
      return doubled(lastDelayFor(outcome.cause, trial), 30 * second);
    case "credentials":
    case "configuration":
      return minute;
  }
}

function wait(
  delayMs: number,
  trial: Pick<Trial, "ageMs">,
  terms: Terms,
  random: () => number,
): Judgement {
  const leftMs = terms.maxAgeMs - trial.ageMs;
  if (leftMs <= 0) return { status: "failed", code: "expired" };
  // The last look is taken when the message expires, not hours later; in whole seconds, since the recipients of one
  // message are judged a little after each other and are to be due together.
  const lastLookMs = Math.ceil(leftMs / second) * second;
  const until = Math.min(jittered(delayMs, random), lastLookMs);
  return { status: "pending", delayMs: until, attemptSpent: false };
}

function named(afterMs: number | undefined): number | undefined {
  return afterMs === undefined ? undefined : Math.min(Math.max(0, afterMs), longestNamedWaitMs);
}

/** Only a wait of the same cause grows; any other says nothing about how long this one lasts. */
function lastDelayFor(cause: string, { lastCause, lastDelayMs }: Trial): number | undefined {
  return lastCause === cause ? lastDelayMs : undefined;
}

function doubled(lastMs: number | undefined, firstMs: number): number {
  return lastMs === undefined ? firstMs : Math.min(Math.max(2 * lastMs, firstMs), longestWaitMs);
}

function jittered(delayMs: number, random: () => number): number {
  return Math.round(delayMs * (1 + random() * 0.2));
}
