import { z } from "@hono/zod-openapi";
import { issueApiKey } from "../../../lib/api_keys/api_key.ts";
import {
  type ApiKeyEntry,
  insertApiKey,
  listApiKeys,
  revokeApiKey,
} from "../../../lib/api_keys/api_keys_table.ts";
import { newId } from "../../../lib/ids.ts";
import { Refusal } from "../../../lib/refusal.ts";
import type { Action, Scope } from "../access/permissions.ts";
import { may, type Principal } from "../access/principal.ts";
import { type Operation, operation } from "../operation.ts";
import type { Parts } from "../parts.ts";
import { dateOf, idOf, listed, listOf, moment, page, pageOf, scope, timeOf } from "../schemas.ts";
import { inGroupOf } from "./users.ts";

const keyShape = z.object({
  id: z.string(),
  "user_id": z.string(),
  name: z.string(),
  prefix: z.string().meta({ description: "The first letters of the key, by which people know it" }),
  scopes: z.array(z.string()),
  "expires_at": z.string().nullable(),
  "revoked_at": z.string().nullable(),
  "last_used_at": z.string().nullable(),
  "created_at": z.string(),
}).openapi("ApiKey");
const createdShape = keyShape.extend({
  "api_key": z.string().meta({ description: "The key; shown this once" }),
}).openapi("CreatedApiKey");
const listShape = listOf(keyShape);

const params = z.object({ id: idOf("user") });
const keyParams = z.object({ id: idOf("user"), key: idOf("key") });
const tag = "api keys";
const resourceType = "api_key";
/** Keys in force of one account, so that they can be rotated and not collected. */
const maxKeys = 20;

/** The keys of SMTP accounts, several each. */
export function apiKeyOperations(parts: Parts): readonly Operation[] {
  return [create(parts), list(parts), revoke(parts)];
}

function create(parts: Parts): Operation {
  return operation({
    action: "keys:write",
    method: "post",
    path: "/api/v1/users/{id}/api-keys",
    tag,
    summary: "Give an SMTP account a key",
    params,
    body: z.strictObject({
      name: z.string({ error: "name is required" }).trim().min(1, "name is required").max(255),
      scopes: z.array(scope).min(1).max(20).default(["send"]),
      "expires_at": moment.optional(),
    }),
    answer: { status: 201, schema: createdShape },
    handle: ({ params, body, ...asking }) =>
      inGroupOf(parts, asking, params.id, async (sql, note, user, group) => {
        if (user.accountType !== "smtp") throw new Refusal("conflict", "only smtp accounts have API keys");
        for (const scope of body.scopes) requireMayGive(asking.principal, scope);
        const expiresAt = dateOf(body.expires_at);
        if (expiresAt !== undefined && expiresAt.getTime() <= Date.now()) {
          throw new Refusal("request_invalid", "expires_at is in the past", { field: "expires_at" });
        }
        const { key, prefix, hash } = await issueApiKey();
        const id = newId<never>() as string;
        const scopes = [...new Set(body.scopes)];
        const stored = { id, group, user: user.id, name: body.name, prefix, hash, scopes, expiresAt };
        const entry = await insertApiKey(sql, { ...stored, createdBy: asking.principal.user }, maxKeys);
        if (entry === undefined) {
          throw new Refusal("too_many", `the account has ${maxKeys} keys in force: revoke one first`);
        }
        const changes = {
          "user_id": user.id,
          name: body.name,
          prefix,
          scopes,
          "expires_at": body.expires_at ?? null,
        };
        await note({ action: "api_key.create", resourceType, resourceId: id, changes });
        return { ...keyOf(entry), "api_key": key };
      }),
  });
}

function list(parts: Parts): Operation {
  return operation({
    action: "keys:read",
    method: "get",
    path: "/api/v1/users/{id}/api-keys",
    tag,
    summary: "List the keys of an account, newest first",
    params,
    query: page,
    answer: { status: 200, schema: listShape },
    handle: ({ params, query, ...asking }) =>
      inGroupOf(parts, asking, params.id, async (sql, _note, user, group) => {
        const wanted = pageOf("api_keys", query);
        const found = await listApiKeys(sql, group, user.id, wanted);
        return listed("api_keys", found, wanted.limit, keyOf);
      }),
  });
}

function revoke(parts: Parts): Operation {
  return operation({
    action: "keys:write",
    method: "delete",
    path: "/api/v1/users/{id}/api-keys/{key}",
    tag,
    summary: "Revoke a key",
    params: keyParams,
    handle: async ({ params, ...asking }) => {
      await inGroupOf(parts, asking, params.id, async (sql, note, user, group) => {
        const entry = await revokeApiKey(sql, group, user.id, params.key);
        if (entry === undefined) throw new Refusal("not_found", "key not found");
        const changes = { "user_id": user.id, name: entry.name, prefix: entry.prefix };
        await note({ action: "api_key.revoke", resourceType, resourceId: entry.id, changes });
      });
    },
  });
}

/** Nobody gives away what they may not do. */
function requireMayGive(principal: Principal, scope: Scope): void {
  if (scope === "send" || may(principal, scope as Action)) return;
  throw new Refusal("permission_missing", `you may not give the scope ${scope}`, { field: "scopes" });
}

function keyOf(key: ApiKeyEntry): z.output<typeof keyShape> {
  return {
    id: key.id,
    "user_id": key.userId,
    name: key.name,
    prefix: key.prefix,
    scopes: [...key.scopes],
    "expires_at": timeOf(key.expiresAt),
    "revoked_at": timeOf(key.revokedAt),
    "last_used_at": timeOf(key.lastUsedAt),
    "created_at": timeOf(key.createdAt),
  };
}
