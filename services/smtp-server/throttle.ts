import { addressKey } from "../../lib/network/cidr.ts";

/** How many failed logins are too many; levels fall by one in `recoverMs`. */
export interface ThrottleOptions {
  readonly failuresPerAddress: number;
  readonly failuresPerAccount: number;
  readonly recoverMs: number;
  /** An address that has logged in to an account within this time is held back by its own failures there alone. */
  readonly knownForMs: number;
  /** Addresses, accounts and known pairs remembered; the oldest are forgotten first. */
  readonly maxEntries: number;
}

/** The rules unless told otherwise: ten tries an address and thirty an account, then one in half a minute. */
export const throttleDefaults: ThrottleOptions = {
  failuresPerAddress: 10,
  failuresPerAccount: 30,
  recoverMs: 30_000,
  knownForMs: 7 * 86_400_000,
  maxEntries: 50_000,
};

/** One login that was tried, as it is kept for other processes and for the next start. */
export interface LoginAttempt {
  readonly username: string;
  /** As `addressKey` gives it. */
  readonly address: string;
  readonly hasSucceeded: boolean;
  readonly atMs: number;
}

/** Failed logins of an address to an account, as they were kept. */
export interface PastFailures {
  readonly username: string;
  /** As `addressKey` gives it. */
  readonly address: string;
  readonly failures: number;
  /** When the last of them was. */
  readonly atMs: number;
}

/** Remembers attempts beyond this process; whoever implements it writes in batches. */
export interface AttemptLog {
  /** Must not throw; may be late. */
  record(attempt: LoginAttempt): void;
  /** Whether the address has logged in to the account since a moment. */
  hasSucceeded(username: string, address: string, sinceMs: number): Promise<boolean>;
}

/** Holds back guessers, by address (IPv6: /64) and by account; an account's own clients are never held back by others. */
export class Throttle {
  readonly #options: ThrottleOptions;
  readonly #attempts: AttemptLog;
  readonly #addresses: Levels;
  readonly #accounts: Levels;
  readonly #pairs: Levels;
  readonly #known = new Map<string, number>();

  constructor(attempts: AttemptLog, options: ThrottleOptions = throttleDefaults) {
    this.#attempts = attempts;
    this.#options = options;
    this.#addresses = new Levels(options.recoverMs, options.maxEntries);
    this.#accounts = new Levels(options.recoverMs, options.maxEntries);
    this.#pairs = new Levels(options.recoverMs, options.maxEntries);
  }

  /** Whether a login may be tried now. */
  async mayTry(username: string, address: string, nowMs: number): Promise<boolean> {
    const { failuresPerAddress, failuresPerAccount, knownForMs } = this.#options;
    const key = addressKey(address);
    if (this.#pairs.at(pair(username, key), nowMs) >= failuresPerAccount) return false;
    const isCalm = this.#addresses.at(key, nowMs) < failuresPerAddress &&
      this.#accounts.at(username, nowMs) < failuresPerAccount;
    if (isCalm || this.isKnown(username, address, nowMs)) return true;
    return await this.#attempts.hasSucceeded(username, key, nowMs - knownForMs);
  }

  /** Whether the address has logged in to the account lately, as far as this process knows. */
  isKnown(username: string, address: string, nowMs: number): boolean {
    const at = this.#known.get(pair(username, addressKey(address)));
    return at !== undefined && nowMs - at <= this.#options.knownForMs;
  }

  /** A login was refused. */
  failed(username: string, address: string, nowMs: number): void {
    this.#note({ username, address: addressKey(address), hasSucceeded: false, atMs: nowMs });
  }

  /** A login succeeded. */
  succeeded(username: string, address: string, nowMs: number): void {
    const key = addressKey(address);
    const lastMs = this.#known.get(pair(username, key));
    // A client that logs in for every message is written down once an hour.
    if (lastMs !== undefined && nowMs - lastMs < 3_600_000) return;
    this.#note({ username, address: key, hasSucceeded: true, atMs: nowMs });
  }

  /**
   * Learns from failures of the past, oldest first, at start. Whoever failed often but slowly was not held back, so
   * the past holds nobody back for longer than one failure too many does.
   */
  recall(past: Iterable<PastFailures>): void {
    const { failuresPerAddress, failuresPerAccount } = this.#options;
    for (const { username, address, failures, atMs } of past) {
      this.#addresses.raise(address, atMs, failures, failuresPerAddress + 1);
      this.#accounts.raise(username, atMs, failures, failuresPerAccount + 1);
      this.#pairs.raise(pair(username, address), atMs, failures, failuresPerAccount + 1);
    }
  }

  #note(attempt: LoginAttempt): void {
    this.#remember(attempt);
    this.#attempts.record(attempt);
  }

  #remember({ username, address, hasSucceeded, atMs }: LoginAttempt): void {
    if (hasSucceeded) {
      const key = pair(username, address);
      this.#known.delete(key);
      this.#known.set(key, atMs);
      dropOldest(this.#known, this.#options.maxEntries);
      return;
    }
    this.#addresses.raise(address, atMs);
    this.#accounts.raise(username, atMs);
    this.#pairs.raise(pair(username, address), atMs);
  }
}

/** Levels that rise by one with each failure and fall with time. */
class Levels {
  readonly #recoverMs: number;
  readonly #maxEntries: number;
  readonly #levels = new Map<string, { readonly level: number; readonly atMs: number }>();

  constructor(recoverMs: number, maxEntries: number) {
    this.#recoverMs = recoverMs;
    this.#maxEntries = maxEntries;
  }

  at(key: string, nowMs: number): number {
    const entry = this.#levels.get(key);
    return entry === undefined ? 0 : Math.max(0, entry.level - (nowMs - entry.atMs) / this.#recoverMs);
  }

  raise(key: string, nowMs: number, by = 1, most = Infinity): void {
    const level = Math.min(this.at(key, nowMs) + by, most);
    this.#levels.delete(key);
    this.#levels.set(key, { level, atMs: nowMs });
    dropOldest(this.#levels, this.#maxEntries);
  }
}

function pair(username: string, address: string): string {
  return `${address} ${username}`;
}

function dropOldest(map: Map<string, unknown>, most: number): void {
  if (map.size <= most) return;
  for (const key of map.keys()) {
    map.delete(key);
    return;
  }
}
