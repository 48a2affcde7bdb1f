import { z } from "@hono/zod-openapi";
import {
  type ActivityEntry,
  type ActivityFilter,
  listActivity,
} from "../../../lib/activity/activity_listing.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { groupOfPath, isOperator } from "../access/principal.ts";
import { type Operation, operation } from "../operation.ts";
import { type Parts, readingEverything, readingWithRights } from "../parts.ts";
import {
  dateOf,
  idOf,
  linkNext,
  listed,
  listOf,
  moment,
  nextCursor,
  page,
  pageOf,
  timeOf,
} from "../schemas.ts";
import { getGroup } from "./groups.ts";

const tag = "activity";
const entryShape = z.object({
  id: z.string(),
  "group_id": z.string().nullable(),
  "actor_id": z.string().optional(),
  "actor_group_id": z.string().optional().meta({
    description: "The actor's own group; another one than group_id when a system administrator acted",
  }),
  action: z.string(),
  "resource_type": z.string(),
  "resource_id": z.string().optional(),
  changes: z.unknown().optional(),
  comment: z.string().optional(),
  "ip_address": z.string().optional(),
  "correlation_id": z.string().optional(),
  "created_at": z.string(),
}).openapi("Activity");

/** As documented, a limit that is too large is the largest. */
const limit = z.coerce.number().int().min(1).transform((value) => Math.min(value, 100));

const query = page.extend({
  limit: limit.optional().meta({ description: "Items of a page: 50 when not given, at most 100" }),
  offset: z.coerce.number().int().min(0).max(10_000).optional().meta({
    description: "For older clients; pages by cursor are faster",
  }),
  action: z.string().max(50).optional(),
  "resource_type": z.string().max(50).optional(),
  "resource_id": idOf("resource").optional(),
  "actor_id": idOf("user").optional(),
  since: moment.optional(),
  until: moment.optional(),
});

/** What was done, by whom, from where: in a group, and for the operator's group everywhere. */
export function activityOperations(parts: Parts): readonly Operation[] {
  return [
    operation({
      action: "activity:read",
      method: "get",
      path: "/api/v1/groups/{id}/activity",
      tag,
      summary: "List activities of a group, newest first",
      params: z.object({ id: idOf("group") }),
      query,
      answer: { status: 200, schema: z.array(entryShape) },
      handle: async ({ params, query, ...request }) => {
        const group = groupOfPath(request.principal, params.id);
        const sql = readingWithRights(parts, request, group);
        await getGroup(sql, group);
        const found = await listActivity(sql, group, filterOf(query), windowOf(query));
        linkNext(request, nextCursor("activity", found, windowOf(query).limit));
        return found.map(entryOf);
      },
    }),
    operation({
      action: "activity:list",
      method: "get",
      path: "/api/v1/activity",
      tag,
      summary: "List activities of all groups and of none, newest first",
      query: query.omit({ offset: true }),
      answer: {
        status: 200,
        schema: listOf(entryShape),
      },
      handle: async ({ query, ...asking }) => {
        const wanted = windowOf(query);
        const { principal } = asking;
        const group = isOperator(principal) && principal.named ? principal.group : undefined;
        const found = await listActivity(readingEverything(parts, asking), group, filterOf(query), wanted);
        return listed("activity", found, wanted.limit, entryOf);
      },
    }),
  ];
}

type Wanted = Omit<z.output<typeof query>, "offset"> & { readonly offset?: number | undefined };

function filterOf(wanted: Wanted): ActivityFilter {
  return {
    action: wanted.action,
    resourceType: wanted.resource_type,
    resourceId: wanted.resource_id,
    actor: wanted.actor_id,
    since: dateOf(wanted.since),
    until: dateOf(wanted.until),
  };
}

function windowOf(wanted: Wanted) {
  if (wanted.cursor !== undefined && wanted.offset !== undefined) {
    throw new Refusal("request_invalid", "cursor and offset exclude each other", { field: "offset" });
  }
  return { ...pageOf("activity", wanted), ...(wanted.offset === undefined ? {} : { offset: wanted.offset }) };
}

function entryOf(entry: ActivityEntry): z.output<typeof entryShape> {
  const { actorId, actorGroupId, resourceId, changes, comment, ipAddress, correlationId } = entry;
  return {
    id: entry.id,
    "group_id": entry.groupId,
    ...(actorId === null ? {} : { "actor_id": actorId }),
    ...(actorGroupId === null ? {} : { "actor_group_id": actorGroupId }),
    action: entry.action,
    "resource_type": entry.resourceType,
    ...(resourceId === null ? {} : { "resource_id": resourceId }),
    ...(changes === null ? {} : { changes }),
    ...(comment === null ? {} : { comment }),
    ...(ipAddress === null ? {} : { "ip_address": ipAddress }),
    ...(correlationId === null ? {} : { "correlation_id": correlationId }),
    "created_at": timeOf(entry.createdAt),
  };
}
