import { Refusal } from "../../../lib/refusal.ts";

const maxConflicts = 20;
const windowMs = 3_600_000;
const maxRemembered = 10_000;

/**
 * Holds back whoever collects addresses by asking which are taken (ruling 1.23): twenty conflicts an hour for each
 * user, counted in this process.
 */
export class ConflictThrottle {
  readonly #conflicts = new Map<string, { readonly sinceMs: number; readonly count: number }>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Runs a change; throws Refusal("too_many_conflicts") instead when the user has met too many taken addresses. */
  async guard<T>(user: string, work: () => Promise<T>): Promise<T> {
    const known = this.#conflicts.get(user);
    const isCurrent = known !== undefined && this.#now() - known.sinceMs < windowMs;
    if (isCurrent && known.count >= maxConflicts) {
      const retryAfter = Math.ceil((known.sinceMs + windowMs - this.#now()) / 1000);
      throw new Refusal("too_many_conflicts", "too many addresses that are taken, try again later", {
        retryAfter,
      });
    }
    try {
      return await work();
    } catch (error) {
      if (error instanceof Refusal && error.code === "email_taken") {
        this.#note(user, isCurrent ? known : { sinceMs: this.#now(), count: 0 });
      }
      throw error;
    }
  }

  #note(user: string, { sinceMs, count }: { readonly sinceMs: number; readonly count: number }): void {
    this.#conflicts.delete(user);
    this.#conflicts.set(user, { sinceMs, count: count + 1 });
    if (this.#conflicts.size <= maxRemembered) return;
    for (const oldest of this.#conflicts.keys()) {
      this.#conflicts.delete(oldest);
      return;
    }
  }
}
