import { createHmac, randomBytes } from "node:crypto";
import type { GroupId, UserId } from "../../lib/ids.ts";
import type { Cidr } from "../../lib/network/cidr.ts";
import { Refusal } from "../../lib/refusal.ts";
import { sleepFor } from "../../lib/retry.ts";
import { type AccountPolicy, type Gate, type Identity, letsIn } from "./intake.ts";
import type { Throttle } from "./throttle.ts";

/** An SMTP account as login needs it. */
export interface Account {
  readonly user: UserId;
  readonly group: GroupId;
  readonly username: string;
  /** Absent when the account has no password. */
  readonly passwordHash: string | undefined;
  /** Changes with every credential of the account. */
  readonly revision: string;
  /** It is an SMTP account, active, in an active group. */
  readonly isActive: boolean;
  /** The group's networks; empty lets every address in. */
  readonly allowedNetworks: readonly Cidr[];
  /** When the API key that was used ends, in milliseconds since 1970. */
  readonly expiresAtMs?: number;
}

/** Where accounts are; throws when they cannot be read. */
export interface AccountSource {
  findByUsername(username: string): Promise<Account | undefined>;
  /** The owner of a valid API key, by the key's SHA-256. */
  findByApiKey(hash: Uint8Array): Promise<Account | undefined>;
  /**
   * After a right password: puts a hash of today in place of an older one and answers the account as it is then;
   * undefined when the password is its no more.
   */
  renew(account: Account, password: string): Promise<Account | undefined>;
  /** Undefined when the account is gone. */
  policyOf(user: UserId): Promise<AccountPolicy | undefined>;
}

/** What logging in needs from the world. */
export interface CredentialParts {
  readonly accounts: AccountSource;
  readonly throttle: Throttle;
  /** Slow on purpose; rejects only when hashing itself does not work. */
  verifyPassword(password: string, hash: string): Promise<boolean>;
  /** A hash that no password has, verified for users who do not exist, so that they cost the same. */
  readonly dummyHash: string;
  /** The SHA-256 of a password that has the shape of an API key; undefined for any other. */
  apiKeyHash(password: string): Promise<Uint8Array> | undefined;
  readonly now: () => number;
  /** A login that is wrong is answered this long after it began at the soonest: what verifying took does not show. */
  readonly failAfterMs: number;
  /** Waits that long. */
  readonly pause?: (ms: number) => Promise<void>;
}

const rememberMs = 3_600_000;
const maxRemembered = 20_000;
const maxVerifying = 2;
const maxWaiting = 100;

interface Remembered {
  readonly account: Account;
  readonly untilMs: number;
}

/** Verifies logins: each pair once at a time, two at a time in all, and remembers what was right (ruling 3.17). */
export class Credentials implements Gate {
  readonly #parts: CredentialParts;
  readonly #key = randomBytes(32);
  readonly #remembered = new Map<string, Remembered>();
  readonly #inFlight = new Map<string, Promise<Account | undefined>>();
  readonly #turns = new Turns(maxVerifying, maxWaiting);

  constructor(parts: CredentialParts) {
    this.#parts = parts;
  }

  /** Throws Refusal: credentials_wrong, credentials_throttled, credentials_unavailable. */
  async authenticate(givenName: string, password: string, address: string): Promise<Identity> {
    const { throttle, now, failAfterMs, pause = sleepFor } = this.#parts;
    const begun = performance.now();
    // Names are the same in any case, and must be so for throttling too.
    const username = givenName.toLowerCase();
    const mark = this.#mark(username, password);
    let account = this.#recall(mark);
    // Who is not welcome costs a guess and its time also when the password is remembered, so that neither tells.
    if (account === undefined || !isWelcome(account, address)) {
      if (!(await this.#mayTry(username, address))) throw throttled();
      account = await this.#verifyOnce(mark, username, password, throttle.isKnown(username, address, now()));
    }
    if (account === undefined || !isWelcome(account, address)) {
      throttle.failed(username, address, now());
      await pause(Math.max(0, failAfterMs - (performance.now() - begun)));
      throw new Refusal("credentials_wrong", "Authentication failed");
    }
    throttle.succeeded(username, address, now());
    return {
      user: account.user,
      group: account.group,
      username: account.username,
      revision: account.revision,
    };
  }

  /** Undefined when the account is gone; throws Refusal("database_down"). */
  async policyOf(user: UserId): Promise<AccountPolicy | undefined> {
    try {
      return await this.#parts.accounts.policyOf(user);
    } catch (cause) {
      if (cause instanceof Refusal) throw cause;
      throw new Refusal("database_down", "Account cannot be read now, try again later", { cause });
    }
  }

  /** The next login of this account is verified anew. */
  forget(identity: Identity): void {
    for (const [mark, { account }] of this.#remembered) {
      if (account.user === identity.user) this.#remembered.delete(mark);
    }
  }

  #recall(mark: string): Account | undefined {
    const found = this.#remembered.get(mark);
    if (found === undefined) return undefined;
    if (found.untilMs > this.#parts.now()) return found.account;
    this.#remembered.delete(mark);
    return undefined;
  }

  async #mayTry(username: string, address: string): Promise<boolean> {
    try {
      return await this.#parts.throttle.mayTry(username, address, this.#parts.now());
    } catch (cause) {
      throw unavailable(cause);
    }
  }

  async #verifyOnce(
    mark: string,
    username: string,
    password: string,
    isKnown: boolean,
  ): Promise<Account | undefined> {
    const running = this.#inFlight.get(mark);
    if (running !== undefined) return await running;
    const verifying = this.#verify(username, password, isKnown).finally(() => this.#inFlight.delete(mark));
    this.#inFlight.set(mark, verifying);
    const account = await verifying;
    if (account !== undefined) this.#remember(mark, account);
    return account;
  }

  async #verify(username: string, password: string, isKnown: boolean): Promise<Account | undefined> {
    const { accounts, apiKeyHash } = this.#parts;
    const keyHash = await apiKeyHash(password);
    try {
      if (keyHash !== undefined) {
        const owner = await accounts.findByApiKey(keyHash);
        return owner?.username.toLowerCase() === username && owner.isActive ? owner : undefined;
      }
      using _turn = await this.#turns.take(isKnown);
      return await this.#verifyPassword(username, password);
    } catch (cause) {
      throw cause instanceof Refusal ? cause : unavailable(cause);
    }
  }

  async #verifyPassword(username: string, password: string): Promise<Account | undefined> {
    const { accounts, verifyPassword, dummyHash } = this.#parts;
    const account = await accounts.findByUsername(username);
    // Verified in any case, so that nobody learns from the time which names exist or are suspended.
    const isRight = await verifyPassword(password, account?.passwordHash ?? dummyHash);
    if (!isRight || account?.passwordHash === undefined || !account.isActive) return undefined;
    const renewed = await accounts.renew(account, password);
    return renewed?.passwordHash !== undefined && renewed.isActive ? renewed : undefined;
  }

  #remember(mark: string, account: Account): void {
    const untilMs = Math.min(this.#parts.now() + rememberMs, account.expiresAtMs ?? Infinity);
    this.#remembered.set(mark, { account, untilMs });
    if (this.#remembered.size <= maxRemembered) return;
    for (const oldest of this.#remembered.keys()) {
      this.#remembered.delete(oldest);
      return;
    }
  }

  /** A keyed hash, so that neither a memory dump nor the time of a look-up gives passwords away. */
  #mark(username: string, password: string): string {
    return createHmac("sha256", this.#key).update(`${username}\0${password}`).digest("base64");
  }
}

function isWelcome(account: Account, address: string): boolean {
  return letsIn(account.allowedNetworks, address);
}

function throttled(): Refusal {
  return new Refusal("credentials_throttled", "Too many failed logins, try again later");
}

function unavailable(cause: unknown): Refusal {
  return new Refusal("credentials_unavailable", "Login cannot be verified now, try again later", { cause });
}

/** Lets so many work at a time; those whom an account knows go first, and what is over is refused. */
class Turns {
  readonly #maxWaiting: number;
  #free: number;
  readonly #known: (() => void)[] = [];
  readonly #others: (() => void)[] = [];

  constructor(atOnce: number, maxWaiting: number) {
    this.#free = atOnce;
    this.#maxWaiting = maxWaiting;
  }

  async take(isKnown: boolean): Promise<Disposable> {
    if (this.#free > 0) {
      this.#free--;
    } else {
      const line = isKnown ? this.#known : this.#others;
      if (line.length >= this.#maxWaiting) throw throttled();
      await new Promise<void>((resolve) => line.push(resolve));
    }
    return { [Symbol.dispose]: () => this.#next() };
  }

  #next(): void {
    const next = this.#known.shift() ?? this.#others.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}
