import { maskedChange } from "../../../lib/activity/changes.ts";
import { z } from "@hono/zod-openapi";
import { newId } from "../../../lib/ids.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { recordLogin } from "../../../lib/users/logins_table.ts";
import { findReset, insertToken, type NewToken, useReset } from "../../../lib/users/one_time_tokens_table.ts";
import { hashPassword } from "../../../lib/users/password.ts";
import { newPassword } from "../../../lib/users/user_fields.ts";
import { type Operation, operation, publicOperation } from "../operation.ts";
import type { Parts } from "../parts.ts";
import { idOf, timeOf } from "../schemas.ts";
import { onUser, requireAlone } from "./users.ts";

/** What is handed over: an invitation, or the right to set a password. */
export const handedOver = z.object({
  id: z.string(),
  token: z.string().meta({ description: "Hand it over; shown this once, holds once" }),
  "expires_at": z.string(),
}).openapi("OneTimeToken");
/** A token as it comes back. */
export const givenToken = z.string({ error: "token is required" }).min(1, "token is required").max(200);
const resetMs = 86_400_000;

/** New passwords by a token that an administrator hands over. */
export function oneTimeTokenOperations(parts: Parts): readonly Operation[] {
  return [offerReset(parts), reset(parts)];
}

function offerReset(parts: Parts): Operation {
  return operation({
    action: "users:write",
    method: "post",
    path: "/api/v1/users/{id}/password-reset",
    tag: "users",
    summary: "Let a user set a new password once, within a day",
    description: "It holds no longer when the user's password, status, role or memberships change.",
    params: z.object({ id: idOf("user") }),
    answer: { status: 201, schema: handedOver },
    handle: async ({ params, ...asking }) => {
      const { principal } = asking;
      const made = await newToken(resetMs);
      return await onUser(parts, asking, params.id, async (sql, note, user, group) => {
        await requireAlone(sql, principal, user);
        if (user.accountType !== "human") {
          throw new Refusal("conflict", "an smtp account cannot set its password");
        }
        const purpose = { kind: "password_reset", user: user.id } as const;
        const stored = { ...made.stored, group: group ?? principal.home, createdBy: principal.user, purpose };
        await insertToken(sql, stored);
        await note({ action: "admin.offer_password_reset", resourceType: "user", resourceId: user.id });
        return made.answer;
      });
    },
  });
}

function reset(parts: Parts): Operation {
  return publicOperation({
    method: "post",
    path: "/api/v1/auth/reset-password",
    tag: "auth",
    summary: "Set a new password by the token that an administrator handed over",
    body: z.strictObject({ token: givenToken, "new_password": newPassword }),
    handle: async ({ body, call }) => {
      const { login } = parts.databases;
      const hash = await hashOfToken(body.token);
      const user = await findReset(login.system, hash);
      if (user === undefined) throw expiredToken();
      const passwordHash = await hashPassword(body.new_password);
      await login.transaction(async (sql) => {
        const group = await useReset(sql, hash, passwordHash);
        if (group === undefined) throw expiredToken();
        await recordLogin(sql, {
          ...call,
          group,
          actor: user,
          action: "auth.password_reset",
          resourceType: "user",
          resourceId: user,
          changes: { password: maskedChange },
        });
      });
    },
  });
}

/** A token of 256 random bits: what is stored of it, and what is answered. */
export async function newToken(lifeMs: number) {
  const text = crypto.getRandomValues(new Uint8Array(32)).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
  const id = newId<never>() as string;
  const expiresAt = new Date(Date.now() + lifeMs);
  const stored: Pick<NewToken, "id" | "expiresAt" | "hash"> = {
    id,
    expiresAt,
    hash: await hashOfToken(text),
  };
  return { stored, answer: { id, token: text, "expires_at": timeOf(expiresAt) } };
}

/** What is said of a token that holds no longer, or never did. */
export function expiredToken(): Refusal {
  return new Refusal("request_invalid", "token is invalid or expired", { field: "token" });
}

/** By which a token is found: its SHA-256. */
export async function hashOfToken(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
