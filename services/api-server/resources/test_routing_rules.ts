import { z } from "@hono/zod-openapi";
import type { GroupId } from "../../../lib/ids.ts";
import { newId } from "../../../lib/ids.ts";
import type { GroupSql } from "../../../lib/postgres/sql.ts";
import { Refusal } from "../../../lib/refusal.ts";
import {
  findStoredMessage,
  listNamedProviders,
  type NamedProvider,
} from "../../../lib/routing/described_table.ts";
import { explainRoute, type Explanation, ruleResults } from "../../../lib/routing/explain.ts";
import { headerFacts, type MessageFacts } from "../../../lib/routing/message_facts.ts";
import { routingOf } from "../../../lib/routing/route.ts";
import { listRules } from "../../../lib/routing/rules_table.ts";
import { type Operation, operation } from "../operation.ts";
import { inGroup, type Parts } from "../parts.ts";
import { dateOf, email, idOf, moment } from "../schemas.ts";

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
      `Of a stored message the first ${mostRecipients} recipients are explained; of its header, the ` +
      "subject and the address in From are known, and whether it has an attachment is not.",
    body: testBody,
    answer: { status: 200, schema: answerShape },
    handle: async ({ body, ...asking }) => {
      const { group } = asking.principal;
      return await inGroup(parts, asking, async (sql) => {
        const routing = routingOf(await listRules(sql, group), await listNamedProviders(sql, group));
        const { facts, recipients } = body.message === undefined
          ? await storedFacts(sql, group, body.message_id ?? "")
          : describedFacts(body.message, routing.names);
        return {
          "message_id": facts.id,
          recipients: recipients.map((recipient) => explanationOf(explainRoute(routing, facts, recipient))),
        };
      });
    },
  });
}

interface Tested {
  readonly facts: MessageFacts;
  readonly recipients: readonly string[];
}

async function storedFacts(sql: GroupSql, group: GroupId, id: string): Promise<Tested> {
  const message = await findStoredMessage(sql, group, id, mostRecipients);
  if (message === undefined) throw new Refusal("not_found", "message not found");
  const { sender, account, size, subject, headerFrom, recipients } = message;
  const from = headerFrom === null ? [] : [headerFrom];
  const facts = { id: message.id, sender, account, size, now: new Date(), subject: subject ?? "", from };
  return { facts, recipients };
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
