import type { GroupId, UserId } from "../../../lib/ids.ts";
import { newId } from "../../../lib/ids.ts";
import { addressKey } from "../../../lib/network/cidr.ts";
import type { Database } from "../../../lib/postgres/database.ts";
import type { SystemSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { sleepFor } from "../../../lib/retry.ts";
import { endSession, openSession, rotateSession } from "../../../lib/sessions/sessions_table.ts";
import {
  beginLogin,
  findLogin,
  findMembership,
  findOwnPassword,
  forgiveLogin,
  type Login,
  type Membership,
  recordLogin,
  upgradePassword,
} from "../../../lib/users/logins_table.ts";
import { type PasswordVerifier, renewedHash } from "../../../lib/users/password_verifier.ts";
import type { Call } from "../call.ts";
import type { Principal } from "./principal.ts";
import type { TokenClaims, Tokens, TokenSubject } from "./tokens.ts";
import { KeyedTurns, Turns } from "./turns.ts";

/** What logging in needs. */
export interface LoginParts {
  /** As the login role. */
  readonly database: Database;
  readonly tokens: Tokens;
  readonly passwords: PasswordVerifier;
  readonly attempts: number;
  readonly lockoutMs: number;
  /** A try that fails is answered this long after it began at the soonest: what it took to verify does not show. */
  readonly failAfterMs: number;
  /** Waits that long. */
  readonly pause?: (ms: number) => Promise<void>;
}

/** A session's two tokens, as clients are answered. */
export interface TokenPair {
  readonly "access_token": string;
  readonly "refresh_token": string;
  readonly "token_type": "Bearer";
  /** Seconds until the access token expires. */
  readonly "expires_in": number;
}

/** No hash of ours: verifying it costs the same and fails. */
const noHash = "";

/** Opens, renews and ends sessions. Every end of every try is told in the activity log. */
export class LoginDesk {
  readonly #parts: LoginParts;
  readonly #turns = new Turns(2, 100);
  readonly #addresses = new KeyedTurns(50);

  constructor(parts: LoginParts) {
    this.#parts = parts;
  }

  /**
   * Throws Refusal: credentials_throttled, credentials_wrong, account_suspended, not_a_member, group_unavailable. Who
   * has no account learns it neither from the words nor from the time.
   */
  async login(email: string, password: string, group: GroupId | undefined, call: Call): Promise<TokenPair> {
    const { failAfterMs, pause = sleepFor } = this.#parts;
    const begun = performance.now();
    try {
      return await this.#login(email, password, group, call);
    } catch (error) {
      const isThrottled = error instanceof Refusal && error.code === "credentials_throttled";
      if (!isThrottled) await pause(Math.max(0, failAfterMs - (performance.now() - begun)));
      throw error;
    }
  }

  async #login(email: string, password: string, group: GroupId | undefined, call: Call): Promise<TokenPair> {
    const { database } = this.#parts;
    const { account, address } = trierOf(email, call);
    // One after another from one address: a try counts until it has succeeded, and must not lock out its neighbours.
    using _turn = await this.#addresses.take(address);
    await this.#begin(account, address);
    const login = await findLogin(database.system, email);
    const isRight = await this.#verify(password, login?.passwordHash ?? noHash);
    const home = await findMembership(database.system, login?.id ?? newId<UserId>(), group);
    if (login === undefined || !isRight || login.accountType !== "human") {
      await this.#tellFailure(login, home, call);
      throw wrong("invalid email or password");
    }
    if (login.status !== "active") throw await this.#inactive(login, home, call);
    checkMembership(home, group);
    const hash = login.passwordHash ?? noHash;
    const upgraded = await renewedHash(password, hash);
    return await database.transaction(async (sql) => {
      await forgiveLogin(sql, account, address);
      if (upgraded !== undefined) await upgradePassword(sql, login.id, hash, upgraded);
      return await this.#open(sql, login.id, home, call, "auth.login");
    });
  }

  /** A session in another of the user's groups; throws Refusal: not_a_member, group_unavailable. */
  async switchGroup(user: UserId, from: GroupId, to: GroupId, call: Call): Promise<TokenPair> {
    return await this.#parts.database.transaction(async (sql) => {
      const membership = await findMembership(sql, user, to);
      checkMembership(membership, to);
      return await this.#open(sql, user, membership, call, "auth.switch_group", from);
    });
  }

  /** The next pair for a refresh token, which holds no longer; one that is used twice ends its session. */
  async refresh(token: string, call: Call): Promise<TokenPair> {
    const { database, tokens } = this.#parts;
    const claims = await tokens.verify("refresh", token);
    if (claims === undefined) throw wrong("invalid or expired refresh token");
    const answer = await database.transaction(async (sql) => await this.#rotate(sql, claims, token, call));
    if (answer instanceof Refusal) throw answer;
    return answer;
  }

  /** Ends the session of a refresh token; a token that names none is no error. */
  async logout(token: string, call: Call): Promise<void> {
    const { database, tokens } = this.#parts;
    const claims = await tokens.verify("refresh", token);
    if (claims === undefined) return;
    await database.transaction(async (sql) => {
      if (!(await endSession(sql, claims.session, claims.user))) return;
      await this.#tell(sql, claims.group, claims.user, "auth.logout", { session: claims.session }, call);
    });
  }

  /**
   * Whether it is the user's password, for changes that ask for it again. Whoever has got hold of a token guesses no
   * more often than somebody who logs in: throws Refusal("credentials_throttled"), and each failure is told.
   */
  async confirm(
    { user, email, home }: Pick<Principal, "user" | "email" | "home">,
    password: string,
    call: Call,
  ): Promise<boolean> {
    const { system } = this.#parts.database;
    const { account, address } = trierOf(email, call);
    using _turn = await this.#addresses.take(address);
    await this.#begin(account, address);
    const isRight = await this.#verify(password, await findOwnPassword(system, user) ?? noHash);
    if (isRight) await forgiveLogin(system, account, address);
    else await this.#tell(system, home, user, "auth.password_refused", {}, call);
    return isRight;
  }

  async #begin(account: string, address: string): Promise<void> {
    const { database, attempts: most, lockoutMs } = this.#parts;
    const wait = await beginLogin(database.system, account, address, { most, lockoutMs });
    if (wait === 0) return;
    throw new Refusal("credentials_throttled", "too many login attempts, try again later", {
      retryAfter: wait,
    });
  }

  async #rotate(
    sql: SystemSql,
    claims: TokenClaims,
    token: string,
    call: Call,
  ): Promise<TokenPair | Refusal> {
    const { session, user, group } = claims;
    const membership = await findMembership(sql, user, group);
    if (membership === undefined) throw wrong("session not found or expired");
    if (membership.userStatus !== "active") throw wrong("account is not active");
    if (membership.groupStatus !== "active") throw wrong("group is not active");
    const next = await this.#sign({ session, user, group, ...membership });
    const rotation = await rotateSession(
      sql,
      session,
      await sha256(token),
      await sha256(next.refresh_token),
      this.#sessionEnd(),
    );
    if (rotation === "reused") {
      await this.#tell(sql, group, user, "auth.refresh_reused", { session }, call);
      return wrong("session not found or expired");
    }
    if (rotation !== "rotated") return wrong("session not found or expired");
    await this.#tell(sql, group, user, "auth.token_refresh", { session }, call);
    return next;
  }

  async #verify(password: string, hash: string): Promise<boolean> {
    using _turn = await this.#turns.take();
    return await this.#parts.passwords.verify(password, hash);
  }

  async #open(
    sql: SystemSql,
    user: UserId,
    membership: Membership,
    call: Call,
    action: string,
    from?: GroupId,
  ): Promise<TokenPair> {
    const session = newId<never>() as string;
    const group = membership.groupId;
    const pair = await this.#sign({ session, user, group, ...membership });
    await openSession(sql, {
      id: session,
      user,
      group,
      tokenHash: await sha256(pair.refresh_token),
      expiresAt: this.#sessionEnd(),
      address: call.address,
      userAgent: call.userAgent,
    });
    if (from !== undefined && from !== group) {
      await this.#tell(sql, from, user, action, { session, "target_group_id": group }, call);
    }
    await this.#tell(sql, group, user, action, { session }, call);
    return pair;
  }

  async #sign(subject: TokenSubject): Promise<TokenPair> {
    const { tokens } = this.#parts;
    return {
      "access_token": await tokens.sign("access", subject),
      "refresh_token": await tokens.sign("refresh", subject),
      "token_type": "Bearer",
      "expires_in": Math.floor(tokens.accessExpiryMs / 1000),
    };
  }

  #sessionEnd(): Date {
    return new Date(Date.now() + this.#parts.tokens.refreshExpiryMs);
  }

  async #inactive(login: Login, home: Membership | undefined, call: Call): Promise<Refusal> {
    await this.#tellFailure(login, home, call);
    return wrong("account is not active");
  }

  async #tellFailure(login: Login | undefined, home: Membership | undefined, call: Call): Promise<void> {
    const group = login === undefined ? undefined : home?.groupId;
    const { database } = this.#parts;
    await this.#tell(database.system, group, login?.id, "auth.login_failed", {}, call);
  }

  async #tell(
    sql: SystemSql,
    group: GroupId | undefined,
    actor: UserId | undefined,
    action: string,
    changes: Readonly<Record<string, unknown>>,
    { address, correlationId }: Call,
  ): Promise<void> {
    await recordLogin(sql, { group, actor, action, changes, address, correlationId });
  }
}

/** Under which names tries are counted. */
function trierOf(email: string, call: Call): { readonly account: string; readonly address: string } {
  return {
    account: `api:${email.toLowerCase()}`.slice(0, 255),
    address: `api:${addressKey(call.address)}`,
  };
}

function checkMembership(
  membership: Membership | undefined,
  group: GroupId | undefined,
): asserts membership is Membership {
  if (membership === undefined) {
    const given = group === undefined
      ? "user has no group memberships"
      : "user is not a member of the specified group";
    throw new Refusal("not_a_member", given);
  }
  if (membership.groupStatus !== "active") throw new Refusal("group_unavailable", "group is not active");
}

function wrong(sentence: string): Refusal {
  return new Refusal("credentials_wrong", sentence);
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
