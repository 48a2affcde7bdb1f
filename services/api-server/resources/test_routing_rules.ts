import { z } from "@hono/zod-openapi";
import { type GroupId, newId } from "../../../lib/ids.ts";
import { findStoredBody, type StoredAt } from "../../../lib/messages/history_table.ts";
import { scanMessage } from "../../../lib/mime/message_scan.ts";
import type { GroupSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import {
  findStoredMessage,
  listNamedProviders,
  type NamedProvider,
  type StoredMessage,
} from "../../../lib/routing/described_table.ts";
import { explainRoute, type Explanation, ruleResults } from "../../../lib/routing/explain.ts";
import { headerFacts, type MessageFacts } from "../../../lib/routing/message_facts.ts";
import { type Routing, routingOf } from "../../../lib/routing/route.ts";
import { listRules } from "../../../lib/routing/rules_table.ts";
import { memoryBody } from "../../../lib/store/memory_body.ts";
import { email } from "../../../lib/users/user_fields.ts";
import { may } from "../access/principal.ts";
import { type Operation, operation } from "../operation.ts";
import { inGroup, type Note, type Parts } from "../parts.ts";
import { dateOf, idOf, moment } from "../schemas.ts";

/** Recipients that are explained at a time. */
const mostRecipients = 10;

const description = z.strictObject({
  id: idOf("message").optional().meta({
    description: "Percentages and weights go by it; a new one if not given",
  }),
  sender: z.string().max(320).meta({ description: "The envelope's sender; empty for the null sender" }),
  recipients: z.array(email).min(1).max(mostRecipients),
  "smtp_account": idOf("user").optional(),
  size: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  headers: z.array(z.strictObject({
    name: z.string().regex(/^[!-9;-~]{1,100}$/, "name is the name of a header field"),
    value: z.string().max(2000).regex(/^[^\r\n]*$/, "value is one line"),
  })).max(100).optional().meta({ description: "All fields of the header; not known if not given" }),
  attachment: z.boolean().optional(),
  at: moment.optional().meta({ description: "When it is sent; now if not given" }),
});

const testBody = z.strictObject({
  "message_id": idOf("message").optional().meta({ description: "A stored message" }),
  message: description.optional().meta({ description: "A message that is described instead" }),
}).refine(
  (body) => (body.message_id === undefined) !== (body.message === undefined),
  "give message_id or message",
);

const explanationShape = z.object({
  recipient: z.string(),
  "rule_id": z.string().nullable().meta({ description: "The rule that decides; null where none does" }),
  decided: z.boolean().meta({ description: "False where it depends on something that is not known" }),
  route: z.array(
    z.object({ "provider_id": z.string(), name: z.string(), "provider_type": z.string() }),
  ).meta({ description: "The providers in the order in which they are tried; none: the mail waits" }),
  rules: z.array(z.object({
    "rule_id": z.string(),
    priority: z.number().int(),
    result: z.enum(ruleResults).meta({
      description: "not_asked: one before it decided; skipped: its conditions are not understood; " +
        "unknown: it depends on something that is not known",
    }),
    conditions: z.array(z.object({
      condition: z.string(),
      met: z.boolean().nullable().meta({ description: "Null where it is not known" }),
      actual: z.unknown().meta({ description: "What the message has" }),
    })),
  })),
}).openapi("RouteExplanation");

const answerShape = z.object({ "message_id": z.string(), recipients: z.array(explanationShape) });

/** The call that says which rule would decide about a message, which would not and why, and by which way it goes. */
export function testRoutingRules(parts: Parts): Operation {
  return operation({
    action: "rules:read",
    method: "post",
    path: "/api/v1/routing-rules/test",
    tag: "routing rules",
    summary: "Explain the route of a message",
    description:
      `Of a stored message the first ${mostRecipients} recipients are explained. Where rules ask for ` +
      "more than its subject and sender its body is read, for those who may, and that is an activity.",
    body: testBody,
    answer: { status: 200, schema: answerShape },
    handle: async ({ body, ...asking }) => {
      const { message, message_id: id = "" } = body;
      const { routing, stored } = await inGroup(parts, asking, async (sql, note) => {
        const { group } = asking.principal;
        const routing = routingOf(await listRules(sql, group), await listNamedProviders(sql, group));
        if (message !== undefined) return { routing };
        const isReader = asksForBody(routing) && may(asking.principal, "bodies:read");
        return { routing, stored: await findStored(sql, { group, id, note, isReader }) };
      });
      const { facts, recipients } = message === undefined
        ? await storedFacts(parts, routing, stored)
        : describedFacts(message, routing.names);
      return {
        "message_id": facts.id,
        recipients: recipients.map((recipient) => explanationOf(explainRoute(routing, facts, recipient))),
      };
    },
  });
}

/** Subject and sender are in the rows; everything else of a header, and its parts, are in the body alone. */
function asksForBody({ reading, names }: Routing<NamedProvider>): boolean {
  return reading === "parts" || names.size > 0;
}

interface Tested {
  readonly facts: MessageFacts;
  readonly recipients: readonly string[];
}

interface Stored {
  readonly message: StoredMessage;
  /** Where its bytes are, for those who may read them. */
  readonly body?: StoredAt;
}

async function findStored(
  sql: GroupSql,
  { group, id, note, isReader }: {
    readonly group: GroupId;
    readonly id: string;
    readonly note: Note;
    readonly isReader: boolean;
  },
): Promise<Stored> {
  const message = await findStoredMessage(sql, group, id, mostRecipients);
  if (message === undefined) throw new Refusal("not_found", "message not found");
  const body = isReader ? await findStoredBody(sql, group, message.id) : undefined;
  if (body === undefined || body.bodyRemovedAt !== null) return { message };
  const comment = "To explain its route";
  await note({ action: "messages.read_body", resourceType: "message", resourceId: message.id, comment });
  return { message, body };
}

async function storedFacts(
  parts: Parts,
  routing: Routing<NamedProvider>,
  stored: Stored | undefined,
): Promise<Tested> {
  if (stored === undefined) throw new Refusal("not_found", "message not found");
  const { id, sender, account, size, subject, headerFrom, recipients } = stored.message;
  const from = headerFrom === null ? [] : [headerFrom];
  const rows = { id, sender, account, size, now: new Date(), subject: subject ?? "", from };
  return { facts: { ...rows, ...await bodyFacts(parts, routing, stored.body) }, recipients };
}

async function bodyFacts(
  parts: Parts,
  { reading, names }: Routing<NamedProvider>,
  stored: StoredAt | undefined,
): Promise<Partial<MessageFacts>> {
  if (stored === undefined) return {};
  const { storageRef, body: bytes } = stored;
  await using body = storageRef === "inline"
    ? bytes === null ? undefined : memoryBody(bytes)
    : await parts.mail.readBody(storageRef);
  if (body === undefined) return {};
  const { header, hasAttachment } = await scanMessage(body.stream(), { parts: reading === "parts" });
  return { ...headerFacts(header, names), ...(hasAttachment !== undefined && { hasAttachment }) };
}

function describedFacts(message: z.output<typeof description>, names: ReadonlySet<string>): Tested {
  const { headers, size, smtp_account: account, attachment } = message;
  const header = headers?.map(({ name, value }) => `${name}: ${value}\r\n`).join("");
  const facts = {
    id: message.id ?? newId<never>() as string,
    sender: message.sender,
    now: dateOf(message.at) ?? new Date(),
    ...(account !== undefined && { account }),
    ...(size !== undefined && { size }),
    ...(attachment !== undefined && { hasAttachment: attachment }),
    ...(header !== undefined && headerFacts(new TextEncoder().encode(header), names)),
  };
  return { facts, recipients: message.recipients };
}

function explanationOf(found: Explanation<NamedProvider>): z.output<typeof explanationShape> {
  return {
    recipient: found.recipient,
    "rule_id": found.rule?.id ?? null,
    decided: !found.isUnknown,
    route: found.route.map(({ id, name, providerType }) => ({
      "provider_id": id,
      name,
      "provider_type": providerType,
    })),
    rules: found.rules.map(({ rule, result, conditions }) => ({
      "rule_id": rule.id,
      priority: rule.priority,
      result,
      conditions: conditions.map(({ condition, isMet, actual }) => ({ condition, met: isMet, actual })),
    })),
  };
}
