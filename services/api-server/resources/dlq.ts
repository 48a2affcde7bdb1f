import { z } from "@hono/zod-openapi";
import type { MessageId } from "../../../lib/ids.ts";
import { findMessageIds, type FoundIds, listMessages } from "../../../lib/messages/listing_table.ts";
import {
  countRequeueable,
  lockMessages,
  requeueMessages,
  type Standing,
} from "../../../lib/messages/requeue_table.ts";
import type { GroupSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { type Operation, operation } from "../operation.ts";
import { inGroup, type Parts, readingGroup } from "../parts.ts";
import { idOf, page, pageOf } from "../schemas.ts";
import { failureCode, filterOf, messageFilter, messageList, messageOf } from "./message_shapes.ts";
import { cursorOf } from "./messages.ts";

const tag = "dead letters";
const maxAtOnce = 1000;
const deadStatus = z.enum(["failed", "storage_error"], {
  error: "status must be one of: failed, storage_error",
});
const deadFilter = {
  status: deadStatus.optional(),
  "failure_code": failureCode.optional(),
  ...messageFilter,
};
const deadFilterObject = z.strictObject(deadFilter);

const required = "message_ids is required and must not be empty";
const reprocessBody = z.strictObject({
  "message_ids": z.array(idOf("message"), { error: required }).min(1, required).max(maxAtOnce).optional(),
  filter: deadFilterObject.optional().meta({
    description: "Instead of `message_ids`: the dead letters that all of it holds for",
  }),
  "dry_run": z.boolean().default(false).meta({ description: "Tells what would be done, and does nothing" }),
  limit: z.number().int().min(1).max(maxAtOnce).optional().meta({
    description: "Of a filter: how many are looked at by one call",
  }),
  cursor: z.string().max(200).optional().meta({
    description: "Of a filter: `next_cursor` of the call before",
  }),
  "reset_retry_count": z.boolean().optional().meta({
    description: "Without effect: each recipient begins anew in any case",
  }),
}).refine((body) => body.message_ids !== undefined || body.filter !== undefined, { error: required })
  .refine((body) => body.message_ids === undefined || body.filter === undefined, {
    error: "message_ids and filter exclude each other",
  }).refine((body) => body.filter !== undefined || (body.limit === undefined && body.cursor === undefined), {
    error: "limit and cursor go with filter",
  });

const outcomeShape = z.object({
  reprocessed: z.number().int().meta({
    description: "How many were put back into the queue, or with `dry_run` would be",
  }),
  total: z.number().int().meta({ description: "How many were named, or looked at by the filter" }),
  "body_gone": z.number().int().meta({
    description: "How many cannot be sent again: their body was removed",
  }),
  "dry_run": z.boolean(),
  "next_cursor": z.string().nullable().meta({ description: "Of a filter: there is more" }),
}).openapi("Reprocessed");

/** Mail that nobody will send unless somebody asks for it. */
export function dlqOperations(parts: Parts): readonly Operation[] {
  return [list(parts), reprocess(parts)];
}

function list(parts: Parts): Operation {
  return operation({
    action: "dlq:read",
    method: "get",
    path: "/api/v1/dlq",
    tag,
    summary: "List dead letters, newest first",
    query: page.extend(deadFilter),
    answer: { status: 200, schema: messageList },
    handle: async ({ query, ...asking }) => {
      const wanted = pageOf("dlq", query);
      const { group } = asking.principal;
      const found = await listMessages(readingGroup(parts, group), group, deadFilterOf(query), wanted);
      return { items: found.messages.map(messageOf), "next_cursor": cursorOf("dlq", found.next) };
    },
  });
}

function reprocess(parts: Parts): Operation {
  return operation({
    action: "dlq:write",
    method: "post",
    path: "/api/v1/dlq/reprocess",
    tag,
    summary: "Send dead letters again, by id or by filter",
    description:
      "Recipients whom no service accepted are served again. What is no dead letter of yours is passed " +
      "over. Named letters whose body was removed are refused with 409 `body_gone`, and nothing is done.",
    body: reprocessBody,
    answer: { status: 200, schema: outcomeShape },
    handle: async ({ body, ...asking }) => {
      const { group } = asking.principal;
      const done = await inGroup(parts, asking, async (sql, note) => {
        const named = await idsOf(sql, body);
        const gone = (await lockMessages(sql, group, named.ids)).filter(isDeadWithoutBody);
        if (body.message_ids !== undefined && gone.length > 0) throw bodyGone(gone);
        const common = { named, gone: gone.length };
        if (body.dry_run) {
          return { ...common, ids: [], count: await countRequeueable(sql, group, named.ids) };
        }
        const ids = await requeueMessages(sql, group, named.ids);
        if (ids.length > 0) {
          const changes = { "message_ids": ids, ...(body.filter && { filter: body.filter }) };
          await note({ action: "dlq.reprocess", resourceType: "message", changes });
        }
        return { ...common, ids, count: ids.length };
      });
      await parts.mail.ring(done.ids.map((message) => ({ message, group })));
      return {
        reprocessed: done.count,
        total: body.message_ids?.length ?? done.named.ids.length,
        "body_gone": done.gone,
        "dry_run": body.dry_run,
        "next_cursor": cursorOf("reprocess", done.named.next),
      };
    },
  });
}

type Wish = z.output<typeof reprocessBody>;

async function idsOf(sql: GroupSql, wish: Wish): Promise<FoundIds> {
  if (wish.message_ids !== undefined) return { ids: [...new Set(wish.message_ids)] as MessageId[] };
  const { filter, limit = maxAtOnce, cursor } = wish;
  return await findMessageIds(sql, deadFilterOf(filter ?? {}), pageOf("reprocess", { limit, cursor }));
}

function deadFilterOf(query: z.output<typeof deadFilterObject>) {
  return { ...filterOf(query), status: query.status ?? "dead", failure: query.failure_code } as const;
}

function isDeadWithoutBody({ status, isBodyGone }: Standing): boolean {
  return isBodyGone && (status === "failed" || status === "storage_error");
}

function bodyGone(gone: readonly Standing[]): Refusal {
  const details = gone.slice(0, 20).map(({ id }) => `${id}: its body was removed`);
  return new Refusal("body_gone", "messages whose body was removed cannot be sent again", {
    field: "message_ids",
    details,
  });
}
