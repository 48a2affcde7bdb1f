import { z } from "@hono/zod-openapi";
import { newId } from "../../../lib/ids.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { recordLogin } from "../../../lib/users/logins_table.ts";
import {
  acceptInvitation,
  findReset,
  insertToken,
  type NewToken,
  useReset,
} from "../../../lib/users/one_time_tokens_table.ts";
import { hashPassword } from "../../../lib/users/password.ts";
import { email, newPassword } from "../../../lib/users/user_fields.ts";
import { groupOfPath } from "../access/principal.ts";
import { requireRank } from "../access/rank.ts";
import { type Operation, operation, publicOperation } from "../operation.ts";
import { type Parts, withRights } from "../parts.ts";
import { idOf, role, timeOf } from "../schemas.ts";
import { getGroup } from "./groups.ts";
import { onUser, requireAlone } from "./users.ts";

const handedOver = z.object({
  id: z.string(),
  token: z.string().meta({ description: "Hand it over; shown this once, holds once" }),
  "expires_at": z.string(),
}).openapi("OneTimeToken");
const token = z.string({ error: "token is required" }).min(1, "token is required").max(200);
const invitationMs = 7 * 86_400_000;
const resetMs = 86_400_000;

/** What an administrator hands over: invitations for users of other groups, and new passwords (ruling 1.23). */
export function oneTimeTokenOperations(parts: Parts): readonly Operation[] {
  return [invite(parts), accept(parts), offerReset(parts), reset(parts)];
}

function invite(parts: Parts): Operation {
  return operation({
    action: "members:write",
    method: "post",
    path: "/api/v1/groups/{id}/invitations",
    tag: "groups",
    summary: "Invite somebody who has an account elsewhere",
    description: "The answer is the same whether the address has an account or not. It holds for seven days.",
    params: z.object({ id: idOf("group") }),
    body: z.strictObject({ email, role: role.default("member") }),
    answer: { status: 201, schema: handedOver },
    handle: async ({ params, body, ...asking }) => {
      const { principal } = asking;
      const group = groupOfPath(principal, params.id);
      const made = await newToken(invitationMs);
      return await withRights(parts, asking, async (sql, note) => {
        const { status } = await getGroup(sql, group);
        if (status === "deleted") throw new Refusal("not_found", "group not found");
        requireRank(principal, group, body.role, `your role does not allow making somebody ${body.role}`);
        const purpose = { kind: "invitation", ...body } as const;
        await insertToken(sql, { ...made.stored, group, createdBy: principal.user, purpose });
        const changes = { email: body.email, role: body.role };
        await note({
          action: "admin.invite",
          resourceType: "invitation",
          resourceId: made.stored.id,
          changes,
        });
        return made.answer;
      }, group);
    },
  });
}

function accept(parts: Parts): Operation {
  return operation({
    action: "self:write",
    method: "post",
    path: "/api/v1/auth/accept-invitation",
    tag: "auth",
    summary: "Become a member of the group that invited your address",
    body: z.strictObject({ token }),
    answer: { status: 200, schema: z.object({ "group_id": z.string(), role }) },
    handle: async ({ body, principal, call }) => {
      const hash = await sha256(body.token);
      return await parts.databases.login.transaction(async (sql) => {
        const joined = await acceptInvitation(sql, hash, principal.user);
        if (joined === undefined) throw expired();
        const { groupId: group, role } = joined;
        const changes = { "user_id": principal.user, role: [null, role] };
        await recordLogin(sql, { ...call, group, actor: principal.user, action: "auth.join_group", changes });
        return { "group_id": group, role };
      });
    },
  });
}

function offerReset(parts: Parts): Operation {
  return operation({
    action: "users:write",
    method: "post",
    path: "/api/v1/users/{id}/password-reset",
    tag: "users",
    summary: "Let a user set a new password once, within a day",
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
    body: z.strictObject({ token, "new_password": newPassword }),
    handle: async ({ body, call }) => {
      const { login } = parts.databases;
      const hash = await sha256(body.token);
      const user = await findReset(login.system, hash);
      if (user === undefined) throw expired();
      const passwordHash = await hashPassword(body.new_password);
      await login.transaction(async (sql) => {
        const group = await useReset(sql, hash, passwordHash);
        if (group === undefined) throw expired();
        await recordLogin(sql, { ...call, group, actor: user, action: "auth.password_reset", changes: {} });
      });
    },
  });
}

async function newToken(lifeMs: number) {
  const text = crypto.getRandomValues(new Uint8Array(32)).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
  const id = newId<never>() as string;
  const expiresAt = new Date(Date.now() + lifeMs);
  const stored: Pick<NewToken, "id" | "expiresAt" | "hash"> = { id, expiresAt, hash: await sha256(text) };
  return { stored, answer: { id, token: text, "expires_at": timeOf(expiresAt) } };
}

function expired(): Refusal {
  return new Refusal("request_invalid", "token is invalid or expired", { field: "token" });
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
