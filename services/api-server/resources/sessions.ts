import { z } from "@hono/zod-openapi";
import { findMember } from "../../../lib/groups/member_entries_table.ts";
import type { GroupId, UserId } from "../../../lib/ids.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { deleteSession, listSessions, type SessionEntry } from "../../../lib/sessions/sessions_table.ts";
import type { Principal } from "../access/principal.ts";
import { outranks, requireRank } from "../access/rank.ts";
import { type Operation, operation } from "../operation.ts";
import { inGroup, type Parts, readingGroup } from "../parts.ts";
import { idOf, listed, listOf, page, pageOf, timeOf } from "../schemas.ts";

const sessionShape = z.object({
  id: z.string(),
  "user_id": z.string(),
  "ip_address": z.string().nullable(),
  "user_agent": z.string().nullable(),
  "created_at": z.string(),
  "refreshed_at": z.string(),
  "expires_at": z.string(),
  current: z.boolean().meta({ description: "The session of this request" }),
}).openapi("Session");
const listShape = listOf(sessionShape);
const tag = "sessions";

/** Who is logged in to a group: one's own sessions, for its administrators those of all. */
export function sessionOperations(parts: Parts): readonly Operation[] {
  return [list(parts), revoke(parts)];
}

function list(parts: Parts): Operation {
  return operation({
    action: "sessions:read",
    method: "get",
    path: "/api/v1/sessions",
    tag,
    summary: "List sessions of your group, newest first; members see their own",
    query: page.extend({ "user_id": idOf("user").optional() }),
    answer: { status: 200, schema: listShape },
    handle: async ({ query, ...asking }) => {
      const { principal } = asking;
      const wanted = pageOf("sessions", query);
      const user = seesAll(principal, principal.group) ? query.user_id as UserId | undefined : principal.user;
      if (query.user_id !== undefined && query.user_id !== (user ?? query.user_id)) {
        return { items: [], "next_cursor": null };
      }
      const found = await listSessions(readingGroup(parts, principal.group), principal.group, user, wanted);
      return listed("sessions", found, wanted.limit, (session) => sessionOf(session, principal));
    },
  });
}

function revoke(parts: Parts): Operation {
  return operation({
    action: "sessions:write",
    method: "delete",
    path: "/api/v1/sessions/{id}",
    tag,
    summary: "End a session",
    params: z.object({ id: idOf("session") }),
    handle: async ({ params, ...asking }) => {
      const { principal } = asking;
      const { group } = principal;
      await inGroup(parts, asking, async (sql, note) => {
        const whose = await deleteSession(
          sql,
          group,
          params.id,
          seesAll(principal, group) ? undefined : principal.user,
        );
        if (whose === undefined) throw new Refusal("not_found", "session not found");
        const member = await findMember(sql, group, whose);
        if (whose !== principal.user && member !== undefined) {
          requireRank(
            principal,
            group,
            member.role,
            `your role does not allow ending sessions of ${member.role}s`,
          );
        }
        const changes = { "user_id": whose };
        await note({
          action: "auth.session_revoked",
          resourceType: "session",
          resourceId: params.id,
          changes,
        });
      });
    },
  });
}

function seesAll(principal: Principal, group: GroupId): boolean {
  return outranks(principal, group, "member");
}

function sessionOf(session: SessionEntry, principal: Principal): z.output<typeof sessionShape> {
  return {
    id: session.id,
    "user_id": session.userId,
    "ip_address": session.ipAddress,
    "user_agent": session.userAgent,
    "created_at": timeOf(session.createdAt),
    "refreshed_at": timeOf(session.refreshedAt),
    "expires_at": timeOf(session.expiresAt),
    current: principal.kind === "person" && principal.session === session.id,
  };
}
