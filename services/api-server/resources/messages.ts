import { z } from "@hono/zod-openapi";
import type { MessageId } from "../../../lib/ids.ts";
import {
  findMessage,
  findStoredBody,
  listCalls,
  listEvents,
  listRecipients,
  type StoredAt,
} from "../../../lib/messages/history_table.ts";
import { listMessages, readMessages } from "../../../lib/messages/listing_table.ts";
import { cancelMessage } from "../../../lib/messages/requeue_table.ts";
import { Refusal } from "../../../lib/refusal.ts";
import type { Body } from "../../../lib/store/body.ts";
import { memoryBody } from "../../../lib/store/memory_body.ts";
import { type Operation, operation } from "../operation.ts";
import { findingInGroup, inGroup, type Parts, readingGroup } from "../parts.ts";
import { idOf, nextCursor, page, pageOf } from "../schemas.ts";
import {
  detailOf,
  filterOf,
  messageDetailShape,
  messageFilter,
  messageList,
  messageOf,
  messageShape,
  messageStatus,
} from "./message_shapes.ts";

const params = z.object({ id: idOf("message") });
const tag = "messages";
const resourceType = "message";
const maxRecipients = 1000;
const maxCalls = 200;
const maxEvents = 500;

/** The group's mail: what came, what became of it, its bytes; and what waits can be cancelled. */
export function messageOperations(parts: Parts): readonly Operation[] {
  return [list(parts), get(parts), raw(parts), cancel(parts)];
}

function list(parts: Parts): Operation {
  return operation({
    action: "messages:read",
    method: "get",
    path: "/api/v1/messages",
    tag,
    summary: "List messages, newest first",
    query: page.extend({ status: messageStatus.optional(), ...messageFilter }),
    answer: { status: 200, schema: messageList },
    handle: async ({ query, ...asking }) => {
      const wanted = pageOf("messages", query);
      const filter = { ...filterOf(query), status: query.status };
      const { group } = asking.principal;
      const found = await listMessages(readingGroup(parts, group), group, filter, wanted);
      return { items: found.messages.map(messageOf), "next_cursor": cursorOf("messages", found.next) };
    },
  });
}

/** The cursor behind an id; null at the end of a list. */
export function cursorOf(kind: string, next: string | undefined): string | null {
  return next === undefined ? null : nextCursor(kind, [{ id: next }], 1) ?? null;
}

function get(parts: Parts): Operation {
  return operation({
    action: "messages:read",
    method: "get",
    path: "/api/v1/messages/{id}",
    tag,
    summary: "Get a message with its recipients, attempts and events",
    params,
    answer: { status: 200, schema: messageDetailShape },
    handle: async ({ params, ...asking }) => {
      const [id, { group }] = [params.id as MessageId, asking.principal];
      const sql = findingInGroup(parts, group);
      const [message, recipients, calls, events] = await Promise.all([
        findMessage(sql, group, id),
        listRecipients(sql, group, id, { after: 0, limit: maxRecipients }),
        listCalls(sql, group, id, maxCalls),
        listEvents(sql, group, id, maxEvents),
      ]);
      if (message === undefined) throw notFound();
      return detailOf(message, recipients, calls, events);
    },
  });
}

function raw(parts: Parts): Operation {
  return operation({
    action: "bodies:read",
    method: "get",
    path: "/api/v1/messages/{id}/raw",
    tag,
    summary: "Download a message as it is sent on",
    description: "Each download is an activity. 409 `body_gone` when the body was removed.",
    params,
    answerType: "message/rfc822",
    handle: async ({ params, ...asking }) => {
      const [id, { group }] = [params.id as MessageId, asking.principal];
      const stored = await inGroup(parts, asking, async (sql, note) => {
        const found = await findStoredBody(sql, group, id);
        if (found === undefined) throw notFound();
        if (found.bodyRemovedAt !== null) throw bodyGone();
        await note({ action: "messages.read_body", resourceType, resourceId: id });
        return found;
      });
      const body = await bodyOf(parts, stored);
      if (body === undefined) throw bodyGone();
      const headers = {
        "content-type": "message/rfc822",
        "content-length": String(body.size),
        "content-disposition": `attachment; filename="${id}.eml"`,
      };
      // A Response is passed on as it is, whatever the type says that is made for JSON.
      return new Response(streamOf(body), { headers }) as never;
    },
  });
}

async function bodyOf(parts: Parts, { storageRef, body }: StoredAt): Promise<Body | undefined> {
  if (storageRef !== "inline") return await parts.mail.readBody(storageRef);
  return body === null ? undefined : memoryBody(body);
}

/** The bytes as they are asked for; the body is closed when they were read, or nobody wants them any more. */
function streamOf(body: Body): ReadableStream<Uint8Array<ArrayBuffer>> {
  let reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  return new ReadableStream({
    async pull(controller) {
      try {
        reader ??= body.stream().getReader();
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value as Uint8Array<ArrayBuffer>);
        await body[Symbol.asyncDispose]();
        controller.close();
      } catch (error) {
        await body[Symbol.asyncDispose]();
        throw error;
      }
    },
    async cancel(reason) {
      await reader?.cancel(reason);
      await body[Symbol.asyncDispose]();
    },
  }, { highWaterMark: 0 });
}

function cancel(parts: Parts): Operation {
  return operation({
    action: "messages:write",
    method: "post",
    path: "/api/v1/messages/{id}/cancel",
    tag,
    summary: "Cancel a message that is queued",
    description: "409 `message_not_queued` when it is being sent at this moment, or is finished.",
    params,
    answer: { status: 200, schema: messageShape },
    handle: async ({ params, ...asking }) => {
      const [id, { group }] = [params.id as MessageId, asking.principal];
      return await inGroup(parts, asking, async (sql, note) => {
        const isCancelled = await cancelMessage(sql, group, id);
        const [message] = await readMessages(sql, group, [id]);
        if (message === undefined) throw notFound();
        if (!isCancelled) {
          const standing = message.status === "processing" ? "is being sent" : `is ${message.status}`;
          throw new Refusal("message_not_queued", `message cannot be cancelled: it ${standing}`);
        }
        const changes = { status: ["queued", "cancelled"] };
        await note({ action: "messages.cancel", resourceType, resourceId: id, changes });
        return messageOf(message);
      });
    },
  });
}

function notFound(): Refusal {
  return new Refusal("not_found", "message not found");
}

function bodyGone(): Refusal {
  return new Refusal("body_gone", "the message's body was removed");
}
