import type { AwsCredentials } from "./aws_credentials.ts";
import type { CredentialSource } from "./credentials.ts";

/** How long credentials are kept. */
export interface CacheTerms {
  readonly now: () => Date;
  /** How long after their end they are still given out while no others can be had. */
  readonly graceMs?: number;
}

const earlyMs = 5 * 60_000;
const leastGapMs = 30_000;
const failureGapMs = 5000;

interface Held {
  readonly credentials: AwsCredentials;
  readonly gotAtMs: number;
  /** When others are asked for. */
  readonly dueAtMs: number;
}

/**
 * Keeps what `load` answers and asks again five minutes before it ends, once for all who wait. While the old ones are
 * still valid a failure is nobody's trouble; no failure is asked for again within five seconds.
 */
export class CachedCredentials implements CredentialSource {
  readonly #load: () => Promise<AwsCredentials>;
  readonly #terms: CacheTerms;
  #held: Held | undefined;
  #loading: Promise<AwsCredentials> | undefined;
  #failed: { readonly error: unknown; readonly atMs: number } | undefined;

  constructor(load: () => Promise<AwsCredentials>, terms: CacheTerms) {
    this.#load = load;
    this.#terms = terms;
  }

  async resolve(): Promise<AwsCredentials> {
    const nowMs = this.#nowMs();
    if (this.#held !== undefined && nowMs < this.#held.dueAtMs) return this.#held.credentials;
    if (this.#failed !== undefined && Math.abs(nowMs - this.#failed.atMs) < failureGapMs) {
      return this.#stillValid(this.#failed.error);
    }
    this.#loading ??= this.#reload().finally(() => this.#loading = undefined);
    return await this.#loading;
  }

  reject(used: AwsCredentials): void {
    const held = this.#held;
    if (held === undefined || !isSame(held.credentials, used)) return;
    // Those that were got a moment ago will not be others now.
    if (Math.abs(this.#nowMs() - held.gotAtMs) >= leastGapMs) this.#held = undefined;
  }

  async #reload(): Promise<AwsCredentials> {
    try {
      const credentials = await this.#load();
      const nowMs = this.#nowMs();
      const endsAtMs = credentials.expiresAt?.getTime() ?? Infinity;
      this.#held = { credentials, gotAtMs: nowMs, dueAtMs: Math.max(endsAtMs - earlyMs, nowMs + leastGapMs) };
      this.#failed = undefined;
      return credentials;
    } catch (error) {
      this.#failed = { error, atMs: this.#nowMs() };
      return this.#stillValid(error);
    }
  }

  #stillValid(error: unknown): AwsCredentials {
    const credentials = this.#held?.credentials;
    const endsAtMs = (credentials?.expiresAt?.getTime() ?? Infinity) + (this.#terms.graceMs ?? 0);
    if (credentials === undefined || this.#nowMs() >= endsAtMs) throw error;
    return credentials;
  }

  #nowMs(): number {
    return this.#terms.now().getTime();
  }
}

function isSame(a: AwsCredentials, b: AwsCredentials): boolean {
  return a.accessKeyId === b.accessKeyId && a.sessionToken === b.sessionToken;
}
