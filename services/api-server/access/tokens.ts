import { errors, type JWTPayload, jwtVerify, SignJWT } from "jose";
import type { GroupId, UserId } from "../../../lib/ids.ts";

/** How tokens are signed and for how long they hold. */
export interface TokenSettings {
  /** The first signs, all verify. */
  readonly signingKeys: readonly [string, ...string[]];
  readonly issuer: string;
  readonly audience: string;
  readonly accessExpiryMs: number;
  readonly refreshExpiryMs: number;
}

/** What a token of ours says: whose session it belongs to. */
export interface TokenClaims {
  readonly session: string;
  readonly user: UserId;
  readonly group: GroupId;
  /** Milliseconds since 1970. */
  readonly expiresAtMs: number;
}

/** What an access token is told besides, for clients; nothing is believed that a token says of rights. */
export interface TokenSubject {
  readonly session: string;
  readonly user: UserId;
  readonly group: GroupId;
  readonly email: string;
  readonly role: string;
  readonly groupType: string;
}

/** The two kinds of token; one is never taken for the other. */
export type TokenKind = "access" | "refresh";

/** Signs and verifies the API's tokens (JWT, HS256). */
export interface Tokens {
  readonly accessExpiryMs: number;
  readonly refreshExpiryMs: number;
  sign(kind: TokenKind, subject: TokenSubject): Promise<string>;
  /** The claims of a token that is ours, of the kind, and not expired; undefined for every other. */
  verify(kind: TokenKind, token: string): Promise<TokenClaims | undefined>;
}

const types = { access: "at+jwt", refresh: "rt+jwt" } as const;
const maxTokenLength = 4096;

/** Opens the keys; `now` is in milliseconds since 1970. */
export function openTokens(settings: TokenSettings, now: () => number = Date.now): Tokens {
  const keys = settings.signingKeys.map((key) => new TextEncoder().encode(key));
  const [signing] = keys as [Uint8Array, ...Uint8Array[]];
  const { issuer, audience, accessExpiryMs, refreshExpiryMs } = settings;
  const lives = { access: accessExpiryMs, refresh: refreshExpiryMs };
  return {
    accessExpiryMs,
    refreshExpiryMs,
    sign(kind, { session, user, group, email, role, groupType }) {
      const issued = Math.floor(now() / 1000);
      const told = kind === "access" ? { email, role, "group_type": groupType } : {};
      return new SignJWT({ ...told, "group_id": group, "session_id": session })
        .setProtectedHeader({ alg: "HS256", typ: types[kind] })
        .setSubject(user).setIssuer(issuer).setAudience(audience).setJti(crypto.randomUUID())
        .setIssuedAt(issued).setExpirationTime(issued + Math.floor(lives[kind] / 1000)).sign(signing);
    },
    async verify(kind, token) {
      if (token.length > maxTokenLength) return undefined;
      const options = {
        algorithms: ["HS256"],
        issuer,
        audience,
        typ: types[kind],
        currentDate: new Date(now()),
      };
      for (const key of keys) {
        try {
          return claimsOf((await jwtVerify(token, key, options)).payload);
        } catch (error) {
          if (error instanceof errors.JWSSignatureVerificationFailed) continue; // perhaps signed by an older key
          if (error instanceof errors.JOSEError) return undefined;
          throw error;
        }
      }
      return undefined;
    },
  };
}

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

function claimsOf(payload: JWTPayload): TokenClaims | undefined {
  const { sub, exp, group_id: group, session_id: session } = payload;
  if (typeof sub !== "string" || typeof group !== "string" || typeof session !== "string") return undefined;
  if (exp === undefined || ![sub, group, session].every((id) => uuid.test(id))) return undefined;
  return { session, user: sub as UserId, group: group as GroupId, expiresAtMs: exp * 1000 };
}
