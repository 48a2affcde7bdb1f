import { hashApiKey, looksLikeApiKey } from "../../../lib/api_keys/api_key.ts";
import { findApiKeys, type LiveKey, useApiKeys } from "../../../lib/api_keys/api_keys_table.ts";
import { coalesce } from "../../../lib/coalesce.ts";
import type { GroupId } from "../../../lib/ids.ts";
import type { Database } from "../../../lib/postgres/database.ts";
import { isOutage } from "../../../lib/postgres/faults.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { findSessions, type LiveSession } from "../../../lib/sessions/sessions_table.ts";
import { gradeOf } from "./permissions.ts";
import type { KeyHolder, Person, Principal } from "./principal.ts";
import { isOperator } from "./principal.ts";
import type { TokenClaims, Tokens } from "./tokens.ts";

/** Tells who sent a request; throws Refusal: authentication_required, credentials_wrong, not_found. */
export type Authenticate = (headers: Headers) => Promise<Principal>;

/** What authenticating needs. */
export interface AuthenticateParts {
  /** As the login role. */
  readonly database: Database;
  readonly tokens: Tokens;
  /** Told when a key's use could not be written down; the request goes on. */
  readonly onFault: (error: unknown) => void;
  readonly now?: () => number;
}

const maxRemembered = 10_000;
/** Few statements at a time, so that each asks for many requests; two, so that one that hangs is not everybody's. */
const batched = { parallel: 2, isOutage };

/**
 * Bearer token or API key. Rights are read from the database at every request, for all requests of a moment in one
 * statement, so that a suspension counts at once; only a token's signature is remembered.
 */
export function authenticator(
  { database, tokens, onFault, now = Date.now }: AuthenticateParts,
): Authenticate {
  const verified = new Map<string, TokenClaims>();
  const session = coalesce<string, LiveSession | undefined>(async (ids) => {
    const found = new Map((await findSessions(database.system, ids)).map((row) => [row.id, row]));
    return ids.map((id) => ({ ok: true, value: found.get(id) }));
  }, batched);
  const key = coalesce<Uint8Array, LiveKey | undefined>(async (hashes) => {
    const rows = await findApiKeys(database.system, hashes);
    const found = new Map(rows.map((row) => [new Uint8Array(row.keyHash).toHex(), row]));
    return hashes.map((hash) => ({ ok: true, value: found.get(hash.toHex()) }));
  }, batched);
  const noteUse = coalesce<string, void>(async (ids) => {
    await useApiKeys(database.system, ids);
    return ids.map(() => ({ ok: true, value: undefined }));
  }, { isOutage });

  return async (headers) => {
    const token = bearerOf(headers);
    const principal = looksLikeApiKey(token) ? await keyHolder(token) : await person(token);
    return await inNamedGroup(principal, headers, database);
  };

  async function person(token: string): Promise<Person> {
    const claims = await claimsOf(token);
    const live = claims && await session(claims.session);
    if (live === undefined || live.userId !== claims?.user) throw invalid();
    if (!live.isActive) throw inactive();
    return {
      kind: "person",
      user: live.userId,
      email: live.email,
      session: live.id,
      home: live.groupId,
      group: live.groupId,
      grade: gradeOf(live.groupType, live.role),
      named: false,
    };
  }

  async function claimsOf(token: string): Promise<TokenClaims | undefined> {
    const known = verified.get(token);
    if (known !== undefined) {
      if (known.expiresAtMs > now()) return known;
      verified.delete(token);
      return undefined;
    }
    const claims = await tokens.verify("access", token);
    if (claims === undefined) return undefined;
    if (verified.size >= maxRemembered) verified.delete(verified.keys().next().value ?? "");
    verified.set(token, claims);
    return claims;
  }

  async function keyHolder(text: string): Promise<KeyHolder> {
    const live = await key(await hashApiKey(text));
    if (live === undefined) throw invalid();
    if (!live.isActive) throw inactive();
    if (live.isStale) noteUse(live.id).catch(onFault);
    const { id, userId: user, email, groupId, scopes } = live;
    return { kind: "key", user, email, key: id, home: groupId, group: groupId, scopes };
  }
}

function bearerOf(headers: Headers): string {
  const header = headers.get("authorization");
  if (header === null) throw required("authorization header required");
  const [, scheme, token] = /^(\S+) +(\S*)\s*$/.exec(header) ?? [];
  if (scheme?.toLowerCase() !== "bearer" || token === undefined) {
    throw required("invalid authorization format, expected Bearer <token>");
  }
  if (token === "") throw required("empty token");
  return token;
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** The group of `X-Group-ID`: any for operators, one's own for everybody else (ruling 1.22). */
async function inNamedGroup(principal: Principal, headers: Headers, database: Database): Promise<Principal> {
  const named = headers.get("x-group-id")?.toLowerCase();
  if (named === undefined) return principal;
  if (!uuid.test(named)) {
    throw new Refusal("request_invalid", "invalid group ID format", { field: "X-Group-ID" });
  }
  if (named !== principal.home) {
    const [row] = isOperator(principal)
      ? await database.system<{ status: string | null }>`select find_group_status(${named}) as status`
      : [];
    if (row === undefined || row.status === null) throw new Refusal("not_found", "group not found");
  }
  return principal.kind === "person" ? { ...principal, group: named as GroupId, named: true } : principal;
}

function required(sentence: string): Refusal {
  return new Refusal("authentication_required", sentence);
}

function invalid(): Refusal {
  return new Refusal("credentials_wrong", "invalid credentials");
}

function inactive(): Refusal {
  return new Refusal("authentication_required", "account is not active");
}
