import { z } from "@hono/zod-openapi";
import { parseMailbox } from "../../../lib/mime/address.ts";
import { Refusal } from "../../../lib/refusal.ts";
import {
  addSuppression,
  addSuppressions,
  listSuppressions,
  removeSuppression,
  type Suppression,
} from "../../../lib/suppressions/suppressions_table.ts";
import { type Operation, operation } from "../operation.ts";
import { inGroup, type Parts } from "../parts.ts";
import { idOf, listed, listOf, page, pageOf, timeOf } from "../schemas.ts";

const reasons = ["bounce", "complaint", "unsubscribe", "manual"] as const;
const reason = z.enum(reasons, { error: `reason must be one of: ${reasons.join(", ")}` });
const address = z.string({ error: "address is required" }).trim().max(320)
  .refine((text) => parseMailbox(text) !== undefined, "address must be a mail address")
  .meta({ example: "somebody@example.net" });

const suppressionShape = z.object({
  id: z.string(),
  address: z.string().meta({ description: "In lower case, the domain as A-labels" }),
  reason,
  note: z.string().nullable(),
  "created_at": z.string(),
  "created_by": z.string().nullable().meta({ description: "Null for what a service reported" }),
}).openapi("Suppression");

const why = { reason: reason.default("manual"), note: z.string().trim().max(500).optional() };
const maxAddresses = 1000;
const tag = "suppressions";
const resourceType = "suppression";
const path = "/api/v1/suppressions";

/** Addresses that a group does not send to. */
export function suppressionOperations(parts: Parts): readonly Operation[] {
  return [list(parts), add(parts), addMany(parts), remove(parts)];
}

function list(parts: Parts): Operation {
  return operation({
    action: "suppressions:read",
    method: "get",
    path,
    tag,
    summary: "List addresses that are not sent to, newest first",
    query: page.extend({ address: address.optional(), reason: reason.optional() }),
    answer: {
      status: 200,
      schema: listOf(suppressionShape),
    },
    handle: async ({ query, ...asking }) => {
      const wanted = pageOf("suppressions", query);
      const { group } = asking.principal;
      const filter = {
        address: query.address === undefined ? undefined : normal(query.address),
        reason: query.reason,
      };
      const found = await inGroup(parts, asking, (sql) => listSuppressions(sql, group, filter, wanted));
      return listed("suppressions", found, wanted.limit, suppressionOf);
    },
  });
}

function add(parts: Parts): Operation {
  return operation({
    action: "suppressions:write",
    method: "post",
    path,
    tag,
    summary: "Send to an address no more",
    description: "An address that is on the list stays as it is, and is answered as such.",
    body: z.strictObject({ address, ...why }),
    answer: { status: 200, schema: suppressionShape },
    handle: async ({ body, ...asking }) => {
      const { group, user } = asking.principal;
      return await inGroup(parts, asking, async (sql, note) => {
        const { entry, isNew } = await addSuppression(sql, group, {
          address: normal(body.address),
          reason: body.reason,
          note: noteOf(body),
          createdBy: user,
        });
        if (isNew) {
          await note({
            action: "suppression.create",
            resourceType,
            resourceId: entry.id,
            changes: told(entry),
          });
        }
        return suppressionOf(entry);
      });
    },
  });
}

function addMany(parts: Parts): Operation {
  return operation({
    action: "suppressions:write",
    method: "post",
    path: `${path}/import`,
    tag,
    summary: "Send to many addresses no more",
    description: `At most ${maxAddresses} at once. Those that are on the list stay as they are.`,
    body: z.strictObject({ addresses: z.array(address).min(1).max(maxAddresses), ...why }),
    answer: {
      status: 200,
      schema: z.object({
        added: z.number().int(),
        known: z.number().int().meta({ description: "Those that were on the list, and repetitions" }),
      }),
    },
    handle: async ({ body, ...asking }) => {
      const { group, user } = asking.principal;
      const { addresses, reason } = body;
      return await inGroup(parts, asking, async (sql, tell) => {
        const note = noteOf(body);
        const wish = { addresses: addresses.map(normal), reason, note, createdBy: user };
        const added = await addSuppressions(sql, group, wish);
        if (added > 0) {
          const changes = { added, reason, ...note !== undefined && { note } };
          await tell({ action: "suppression.import", resourceType, changes });
        }
        return { added, known: addresses.length - added };
      });
    },
  });
}

function remove(parts: Parts): Operation {
  return operation({
    action: "suppressions:write",
    method: "delete",
    path: `${path}/{id}`,
    tag,
    summary: "Send to an address again",
    params: z.object({ id: idOf("suppression") }),
    handle: async ({ params, ...asking }) => {
      await inGroup(parts, asking, async (sql, note) => {
        const gone = await removeSuppression(sql, asking.principal.group, params.id);
        if (gone === undefined) throw new Refusal("not_found", "suppression not found");
        await note({ action: "suppression.delete", resourceType, resourceId: gone.id, changes: told(gone) });
      });
    },
  });
}

/** As recipients are written when they are accepted. */
function normal(text: string): string {
  return parseMailbox(text)?.address ?? text;
}

function noteOf({ note }: { readonly note?: string | undefined }): string | undefined {
  return note === "" ? undefined : note;
}

function told({ address, reason, note }: Suppression) {
  return { address, reason, ...(note !== null && { note }) };
}

function suppressionOf(entry: Suppression): z.output<typeof suppressionShape> {
  return {
    id: entry.id,
    address: entry.address,
    reason: entry.reason,
    note: entry.note,
    "created_at": timeOf(entry.createdAt),
    "created_by": entry.createdBy,
  };
}
