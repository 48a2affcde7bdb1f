import { maskedChange } from "../../../lib/activity/changes.ts";
import { z } from "@hono/zod-openapi";
import type { GroupId } from "../../../lib/ids.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { hashPassword } from "../../../lib/users/password.ts";
import { setMemberPassword } from "../../../lib/users/user_entries_table.ts";
import { newPassword } from "../../../lib/users/user_fields.ts";
import { actions, gradeMay } from "../access/permissions.ts";
import type { Person, Principal } from "../access/principal.ts";
import { type Operation, operation, publicOperation } from "../operation.ts";
import { inGroup, type Parts } from "../parts.ts";
import { idOf } from "../schemas.ts";

const required = "email and password are required";
const tokens = z.object({
  "access_token": z.string(),
  "refresh_token": z.string(),
  "token_type": z.literal("Bearer"),
  "expires_in": z.number().int().meta({ description: "Seconds until the access token expires" }),
}).openapi("Tokens");
const refreshToken = z.strictObject({ "refresh_token": given("refresh_token is required", 4096) });
const me = z.object({
  "user_id": z.string(),
  email: z.string(),
  kind: z.enum(["person", "key"]),
  "group_id": z.string().meta({ description: "The group of the session or key" }),
  "acting_group_id": z.string().meta({ description: "The group this request acts in" }),
  role: z.string().nullable(),
  permissions: z.array(z.string()).meta({ description: "What you may do" }),
}).openapi("Me");

function given(sentence: string, most: number) {
  return z.string({ error: sentence }).min(1, sentence).max(most);
}

/** Logging in and out, and what concerns oneself. */
export function authOperations(parts: Parts): readonly Operation[] {
  const { desk } = parts;
  const tag = "auth";
  return [
    publicOperation({
      method: "post",
      path: "/api/v1/auth/login",
      tag,
      summary: "Log in with e-mail address and password",
      description: "After five failures an account, and an address, is locked for fifteen minutes (429).",
      body: z.strictObject({
        email: given(required, 255),
        password: given(required, 1024),
        "group_id": idOf("group_id").optional().meta({
          description: "The first active group when not given",
        }),
      }),
      answer: { status: 200, schema: tokens },
      handle: ({ body, call }) =>
        desk.login(body.email, body.password, body.group_id as GroupId | undefined, call),
    }),
    publicOperation({
      method: "post",
      path: "/api/v1/auth/refresh",
      tag,
      summary: "Exchange a refresh token for the next pair",
      description: "A refresh token holds once. Using one twice ends its session.",
      body: refreshToken,
      answer: { status: 200, schema: tokens },
      handle: ({ body, call }) => desk.refresh(body.refresh_token, call),
    }),
    publicOperation({
      method: "post",
      path: "/api/v1/auth/logout",
      tag,
      summary: "End the session of a refresh token",
      body: refreshToken,
      handle: ({ body, call }) => desk.logout(body.refresh_token, call),
    }),
    operation({
      action: "self:write",
      method: "post",
      path: "/api/v1/auth/switch-group",
      tag,
      summary: "Open a session in another of your groups",
      body: z.strictObject({
        "group_id": z.guid({
          error: ({ input }) => input === undefined ? "group_id is required" : "invalid group_id format",
        }).toLowerCase(),
      }),
      answer: { status: 200, schema: tokens },
      handle: ({ body, principal, call }) =>
        desk.switchGroup(principal.user, principal.home, body.group_id as GroupId, call),
    }),
    operation({
      action: "self:read",
      method: "get",
      path: "/api/v1/auth/me",
      tag,
      summary: "Who you are and what you may do",
      answer: { status: 200, schema: me },
      handle: ({ principal }) => Promise.resolve(meOf(principal)),
    }),
    changePassword(parts),
  ];
}

function meOf(principal: Principal): z.output<typeof me> {
  const isPerson = principal.kind === "person";
  return {
    "user_id": principal.user,
    email: principal.email,
    kind: principal.kind,
    "group_id": principal.home,
    "acting_group_id": principal.group,
    role: isPerson ? principal.grade : null,
    permissions: isPerson
      ? actions.filter((action) => gradeMay(principal.grade, action))
      : [...principal.scopes],
  };
}

function changePassword(parts: Parts): Operation {
  return operation({
    action: "self:write",
    method: "put",
    path: "/api/v1/auth/password",
    tag: "auth",
    summary: "Change your own password",
    description: "Ends all your other sessions. A wrong password counts as a failed login (429).",
    body: z.strictObject({
      "current_password": given("current_password is required", 1024),
      "new_password": newPassword,
    }),
    handle: async ({ body, principal, call }) => {
      const { session } = principal as Person;
      if (!(await parts.desk.confirm(principal, body.current_password, call))) {
        throw new Refusal("request_invalid", "current_password is wrong", { field: "current_password" });
      }
      const next = await hashPassword(body.new_password);
      const home = { ...principal, group: principal.home };
      await inGroup(parts, { principal: home, call }, async (sql, note) => {
        if (!await setMemberPassword(sql, principal.user, next, { session })) {
          throw new Refusal("not_a_member", "user is not a member of the specified group");
        }
        await note({
          action: "auth.password_changed",
          resourceType: "user",
          resourceId: principal.user,
          changes: { password: maskedChange },
        });
      });
    },
  });
}
