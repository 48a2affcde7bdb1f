import { z } from "@hono/zod-openapi";
import { lockGroups } from "../../../lib/groups/member_entries_table.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { recordLogin } from "../../../lib/users/logins_table.ts";
import {
  acceptInvitation,
  countInvitations,
  insertToken,
  type InvitationEntry,
  listInvitations,
  withdrawInvitation,
} from "../../../lib/users/one_time_tokens_table.ts";
import { email } from "../../../lib/users/user_fields.ts";
import { groupOfPath } from "../access/principal.ts";
import { requireRank } from "../access/rank.ts";
import { type Operation, operation } from "../operation.ts";
import { type Parts, withRights } from "../parts.ts";
import { idOf, listed, listOf, page, pageOf, role, timeOf } from "../schemas.ts";
import { getGroup } from "./groups.ts";
import { expiredToken, givenToken, handedOver, hashOfToken, newToken } from "./one_time_tokens.ts";

const invitationShape = z.object({
  id: z.string(),
  email: z.string(),
  role,
  "created_by": z.string().nullable(),
  "expires_at": z.string(),
  "created_at": z.string(),
}).openapi("Invitation");
const listShape = listOf(invitationShape);
const params = z.object({ id: idOf("group") });
const lifeMs = 7 * 86_400_000;
/** Open ones of one group. */
const maxInvitations = 100;
const tag = "groups";
const resourceType = "invitation";

/** How somebody who has an account elsewhere becomes a member (ruling 1.23). */
export function invitationOperations(parts: Parts): readonly Operation[] {
  return [invite(parts), list(parts), withdraw(parts), accept(parts)];
}

function invite(parts: Parts): Operation {
  return operation({
    action: "members:write",
    method: "post",
    path: "/api/v1/groups/{id}/invitations",
    tag,
    summary: "Invite somebody who has an account elsewhere",
    description:
      "The answer is the same whether the address has an account or not. It holds for seven days, and " +
      "takes the place of an earlier one for the same address.",
    params,
    body: z.strictObject({ email, role: role.default("member") }),
    answer: { status: 201, schema: handedOver },
    handle: async ({ params, body, ...asking }) => {
      const { principal } = asking;
      const group = groupOfPath(principal, params.id);
      const made = await newToken(lifeMs);
      return await withRights(parts, asking, async (sql, note) => {
        await lockGroups(sql, [group]);
        const { status } = await getGroup(sql, group);
        if (status === "deleted") throw new Refusal("not_found", "group not found");
        requireRank(principal, group, body.role, `your role does not allow making somebody ${body.role}`);
        const purpose = { kind: "invitation", ...body } as const;
        await insertToken(sql, { ...made.stored, group, createdBy: principal.user, purpose });
        if (await countInvitations(sql, group) > maxInvitations) {
          throw new Refusal(
            "too_many",
            `the group has ${maxInvitations} open invitations: withdraw one first`,
          );
        }
        const changes = { email: body.email, role: body.role };
        await note({ action: "admin.invite", resourceType, resourceId: made.stored.id, changes });
        return made.answer;
      }, group);
    },
  });
}

function list(parts: Parts): Operation {
  return operation({
    action: "members:read",
    method: "get",
    path: "/api/v1/groups/{id}/invitations",
    tag,
    summary: "List the invitations that may still be accepted, newest first",
    params,
    query: page,
    answer: { status: 200, schema: listShape },
    handle: async ({ params, query, ...asking }) => {
      const group = groupOfPath(asking.principal, params.id);
      const wanted = pageOf("invitations", query);
      const found = await withRights(parts, asking, async (sql) => {
        await getGroup(sql, group);
        return await listInvitations(sql, group, wanted);
      }, group);
      return listed("invitations", found, wanted.limit, invitationOf);
    },
  });
}

function withdraw(parts: Parts): Operation {
  return operation({
    action: "members:write",
    method: "delete",
    path: "/api/v1/groups/{id}/invitations/{invitation}",
    tag,
    summary: "Withdraw an invitation that nobody has accepted",
    params: params.extend({ invitation: idOf("invitation") }),
    handle: async ({ params, ...asking }) => {
      const { principal } = asking;
      const group = groupOfPath(principal, params.id);
      await withRights(parts, asking, async (sql, note) => {
        const gone = await withdrawInvitation(sql, group, params.invitation);
        if (gone === undefined) throw new Refusal("not_found", "invitation not found");
        const { email, role } = gone;
        requireRank(principal, group, role, `your role does not allow changing who is ${role}`);
        const changes = { email: [email, null], role: [role, null] };
        await note({
          action: "admin.withdraw_invitation",
          resourceType,
          resourceId: params.invitation,
          changes,
        });
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
    body: z.strictObject({ token: givenToken }),
    answer: { status: 200, schema: z.object({ "group_id": z.string(), role }) },
    handle: async ({ body, principal, call }) => {
      const hash = await hashOfToken(body.token);
      return await parts.databases.login.transaction(async (sql) => {
        const joined = await acceptInvitation(sql, hash, principal.user);
        if (joined === undefined) throw expiredToken();
        const { groupId: group, role, membership } = joined;
        if (membership === null) {
          throw new Refusal("already_member", "you are already a member of this group");
        }
        await recordLogin(sql, {
          ...call,
          group,
          actor: principal.user,
          action: "auth.join_group",
          resourceType: "group_member",
          resourceId: membership,
          changes: { "user_id": [null, principal.user], role: [null, role] },
        });
        return { "group_id": group, role };
      });
    },
  });
}

function invitationOf(entry: InvitationEntry): z.output<typeof invitationShape> {
  return {
    id: entry.id,
    email: entry.email,
    role: entry.role,
    "created_by": entry.createdBy,
    "expires_at": timeOf(entry.expiresAt),
    "created_at": timeOf(entry.createdAt),
  };
}
