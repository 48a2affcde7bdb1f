import type { GroupId, ProviderId } from "../../lib/ids.ts";
import type { CallReport, Fault, RecipientOutcome } from "../../lib/esp/outcome.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import {
  clearAttention,
  isProbeTaken,
  markNeedsAttention,
  takeProbe,
} from "../../lib/providers/providers_table.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { afterCall, askBreaker, type BreakerState, closedBreaker } from "./breaker.ts";
import type { Obstacle } from "./judge.ts";

/** The provider asked about. */
export interface HealthSubject {
  readonly id: ProviderId;
  readonly group: GroupId;
  readonly name: string;
}

/** Why a provider is not to be called now, and for how long. */
export interface Rest {
  readonly obstacle: Extract<Obstacle, "breaker_open" | "needs_attention" | "paused">;
  readonly forMs: number;
}

/** How a provider rests that somebody paused: it is looked at again each minute. */
export const paused: Rest = { obstacle: "paused", forMs: 60_000 };

/** What the health of providers depends on. */
export interface ProviderHealthOptions {
  readonly sql: SystemSql;
  readonly log: Log;
  /** Longest time a probe takes. */
  readonly callTimeoutMs: number;
  /** A clock in milliseconds that never goes back. */
  readonly now?: () => number;
}

const probeGapMs = 60_000;

/** What this process knows of providers: breakers, and which of them somebody has to repair (rulings 1.9, 3.4). */
export class ProviderHealth {
  readonly #options: ProviderHealthOptions;
  readonly #now: () => number;
  // Only what is out of order is kept, so neither grows beyond the providers that are.
  readonly #breakers = new Map<ProviderId, BreakerState>();
  readonly #attention = new Set<ProviderId>();

  constructor(options: ProviderHealthOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Providers another process has marked. */
  remember(marked: readonly ProviderId[]): void {
    for (const id of marked) this.#attention.add(id);
  }

  /** Asks to call a provider now; undefined means yes. A provider in need of attention gets one probe a minute. */
  async ask(provider: HealthSubject): Promise<Rest | undefined> {
    if (this.#attention.has(provider.id)) {
      const answer = await takeProbe(this.#options.sql, provider.id, probeGapMs);
      if (answer === "not_now") return { obstacle: "needs_attention", forMs: probeGapMs };
      if (answer === "in_order") this.#attention.delete(provider.id);
    }
    const breaker = this.#breakers.get(provider.id);
    if (breaker === undefined) return undefined;
    const answer = askBreaker(breaker, this.#now(), this.#options.callTimeoutMs);
    if (answer.kind === "wait") return { obstacle: "breaker_open", forMs: answer.forMs };
    this.#breakers.set(provider.id, answer.state);
    return undefined;
  }

  /** Whether a provider is not to be called now; takes no probe, so that nothing need come of it. */
  async look(provider: HealthSubject): Promise<Rest | undefined> {
    if (this.#attention.has(provider.id) && await isProbeTaken(this.#options.sql, provider.id)) {
      return { obstacle: "needs_attention", forMs: probeGapMs };
    }
    const breaker = this.#breakers.get(provider.id) ?? closedBreaker;
    const answer = askBreaker(breaker, this.#now(), this.#options.callTimeoutMs);
    return answer.kind === "wait" ? { obstacle: "breaker_open", forMs: answer.forMs } : undefined;
  }

  /** How many providers are out of order now, as far as this process knows. */
  count(): { readonly open: number; readonly probing: number; readonly needAttention: number } {
    const tripped = [...this.#breakers.values()].filter(({ openUntilMs }) => openUntilMs !== undefined);
    const probing = tripped.filter(({ isProbing }) => isProbing === true).length;
    return { open: tripped.length - probing, probing, needAttention: this.#attention.size };
  }

  /** Learns from a call that was made. */
  async note(provider: HealthSubject, report: CallReport): Promise<void> {
    const outcomes = [...report.recipients.values()];
    this.#noteBreaker(provider, outcomes);
    // Whoever takes mail for anybody has an account in order, whatever is said to others.
    const works = outcomes.some((outcome) => outcome.kind === "accepted");
    const broken = works ? undefined : outcomes.find(needsRepair);
    if (broken !== undefined && broken.kind === "wait") return await this.#mark(provider, broken.fault);
    if (works && this.#attention.has(provider.id)) {
      await clearAttention(this.#options.sql, provider.id);
      this.#attention.delete(provider.id);
      this.#options.log.info("provider works again", { ...labels(provider) });
    }
  }

  /** Learns that a provider cannot even be called. */
  async noteUnusable(provider: HealthSubject, fault: Fault): Promise<void> {
    if (!this.#attention.has(provider.id)) await this.#mark(provider, fault);
  }

  async #mark(provider: HealthSubject, fault: Fault): Promise<void> {
    this.#attention.add(provider.id);
    if (!await markNeedsAttention(this.#options.sql, provider, fault)) return;
    this.#options.log.warn("provider needs attention", {
      ...labels(provider),
      code: fault.code,
      detail: fault.detail,
    });
  }

  #noteBreaker(provider: HealthSubject, outcomes: readonly RecipientOutcome[]): void {
    // Whoever answers in any way but a fault of its own is up.
    const isFailure = outcomes.length > 0 && outcomes.every(isOwnFailure);
    if (!isFailure && outcomes.every((outcome) => outcome.kind === "wait")) return;
    const before = this.#breakers.get(provider.id) ?? closedBreaker;
    const state = afterCall(before, isFailure, this.#now());
    if (state === closedBreaker) this.#breakers.delete(provider.id);
    else this.#breakers.set(provider.id, state);
    if (state.trips > before.trips) this.#options.log.warn("provider breaker opened", labels(provider));
    if (before.trips > 0 && state.trips === 0) {
      this.#options.log.info("provider breaker closed", labels(provider));
    }
  }
}

function labels({ id, group, name }: HealthSubject) {
  return { provider: id, providerName: name, group };
}

function isOwnFailure(outcome: RecipientOutcome): boolean {
  return (outcome.kind === "retry" || outcome.kind === "unknown") && outcome.fault.blame === "provider";
}

function needsRepair(outcome: RecipientOutcome): boolean {
  return outcome.kind === "wait" && (outcome.cause === "credentials" || outcome.cause === "configuration");
}
