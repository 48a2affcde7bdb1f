/** What is known of a provider's recent calls; a value, so that it can be kept anywhere (ruling 1.9). */
export interface BreakerState {
  /** Calls in a row that failed by the provider's fault. */
  readonly failures: number;
  /** Times it opened without a call that worked in between. */
  readonly trips: number;
  /** While it is open: when the next call may probe. Times are milliseconds of one clock. */
  readonly openUntilMs?: number;
  /** A probe is under way. */
  readonly isProbing?: boolean;
}

/** Whether a call may be made; `state` is to be kept, because a probe that is under way keeps others waiting. */
export type BreakerAnswer =
  | { readonly kind: "go"; readonly state: BreakerState }
  | { readonly kind: "wait"; readonly forMs: number };

const failuresToOpen = 5;
const firstCoolDownMs = 30_000;
const longestCoolDownMs = 300_000;

/** Nothing is known against the provider. */
export const closedBreaker: BreakerState = { failures: 0, trips: 0 };

/** Asks to call now: freely while it is closed, one probe after each cool-down while it is open. */
export function askBreaker(state: BreakerState, nowMs: number, probeMs: number): BreakerAnswer {
  if (state.openUntilMs === undefined) return { kind: "go", state };
  if (nowMs < state.openUntilMs) return { kind: "wait", forMs: state.openUntilMs - nowMs };
  return { kind: "go", state: { ...state, openUntilMs: nowMs + probeMs, isProbing: true } };
}

/** The state after a call: a success closes, five failures in a row open, each failed probe doubles the cool-down. */
export function afterCall(state: BreakerState, isFailure: boolean, nowMs: number): BreakerState {
  if (!isFailure) return closedBreaker;
  // Calls that were under way when it opened say nothing new.
  if (state.openUntilMs !== undefined && state.isProbing !== true) return state;
  const failures = state.failures + 1;
  if (failures < failuresToOpen) return { failures, trips: state.trips };
  const trips = state.trips + 1;
  const coolDownMs = Math.min(firstCoolDownMs * 2 ** Math.min(trips - 1, 10), longestCoolDownMs);
  return { failures, trips, openUntilMs: nowMs + coolDownMs };
}
