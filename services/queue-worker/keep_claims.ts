import { KeyedCrowd } from "../../lib/crowd.ts";
import type { MessageId } from "../../lib/ids.ts";
import { type Claim, renewClaims } from "../../lib/messages/claims_table.ts";
import type { SystemSql } from "../../lib/postgres/sql.ts";
import { sleepFor } from "../../lib/retry.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { Interrupted } from "./interrupted.ts";

/** What the keeper needs. */
export interface KeepClaimsOptions {
  readonly sql: SystemSql;
  readonly leaseMs: number;
  readonly log: Log;
  /** Told of each claim another process has taken over. */
  readonly onLost: () => void;
  readonly onBatch?: (size: number) => void;
}

/** A claim in this process's hands; its signal is aborted when the work must stop at once. */
export interface HeldClaim {
  readonly signal: AbortSignal;
  /** Time until the lease ends if it is not renewed any more, as far as this process knows. */
  leftMs(): number;
}

interface Held {
  readonly message: MessageId;
  readonly controller: AbortController;
  renewedAt: number;
  /** Its end is being written, so a row that is no longer claimed says nothing. */
  isEnding: boolean;
}

const batchSize = 1000;
const retryMs = 1000;

/** Renews the claims of this process at a third of their lease, in one statement for all (ruling 3.5). */
export class KeptClaims implements AsyncDisposable {
  readonly #options: KeepClaimsOptions;
  readonly #held = new KeyedCrowd<number, Held>((number) => number);
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: KeepClaimsOptions) {
    this.#options = options;
    this.#running = this.#keep();
  }

  /** The numbers of all claims held now. */
  numbers(): readonly number[] {
    return [...this.#held.entries()].map(([number]) => number);
  }

  /** Takes up a claim that was just made; `askedAt` is when it was asked for, by `performance.now()`. */
  take(claim: Claim, askedAt: number): void {
    this.#held.enter(claim.number, {
      message: claim.message.id,
      controller: new AbortController(),
      renewedAt: askedAt,
      isEnding: false,
    });
  }

  /** A claim that was taken up. */
  get(number: number): HeldClaim {
    const held = this.#held.get(number);
    if (held === undefined) throw new Interrupted("claim_lost");
    const { leaseMs } = this.#options;
    return {
      signal: held.controller.signal,
      leftMs: () => leaseMs - (performance.now() - held.renewedAt),
    };
  }

  /** Says that the claim's end is about to be written; it is renewed until it is dropped. */
  ending(number: number): void {
    const held = this.#held.get(number);
    if (held !== undefined) held.isEnding = true;
  }

  /** Forgets a claim that has ended; it is renewed no more. */
  drop(number: number): void {
    this.#held.leave(number);
  }

  /** Stops all work at once. */
  abortAll(): void {
    for (const [, { controller }] of [...this.#held.entries()]) controller.abort(new Interrupted("stopped"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #keep(): Promise<void> {
    const { signal } = this.#stop;
    const { leaseMs, log } = this.#options;
    let waitMs = leaseMs / 3;
    for (;;) {
      await sleepFor(waitMs, signal);
      if (signal.aborted) return;
      try {
        await this.#renewAll();
        waitMs = leaseMs / 3;
      } catch (error) {
        log.warn("cannot renew claims", { count: this.#held.size, error });
        waitMs = Math.min(retryMs, leaseMs / 3);
      }
    }
  }

  async #renewAll(): Promise<void> {
    const all = [...this.#held.entries()];
    for (let start = 0; start < all.length; start += batchSize) {
      await this.#renew(all.slice(start, start + batchSize));
    }
  }

  async #renew(batch: readonly (readonly [number, Held])[]): Promise<void> {
    const { sql, leaseMs, log, onLost, onBatch } = this.#options;
    const askedAt = performance.now();
    onBatch?.(batch.length);
    const claims = batch.map(([number, { message }]) => ({ number, message }));
    const kept = await renewClaims(sql, claims, leaseMs);
    for (const [number, held] of batch) {
      if (kept.has(number)) held.renewedAt = askedAt;
      else if (!held.isEnding && this.#held.leave(number)) {
        onLost();
        log.warn("claim lost", { messageId: held.message });
        held.controller.abort(new Interrupted("claim_lost"));
      }
    }
  }
}
