import { z } from "@hono/zod-openapi";
import { countMessages, type DayCount } from "../../../lib/messages/statistics_table.ts";
import type { RecipientStatus } from "../../../lib/messages/message.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { findUsage } from "../../../lib/usage/usage_table.ts";
import { type Operation, operation } from "../operation.ts";
import { findingInGroup, type Parts, readingGroup } from "../parts.ts";
import { timeOf } from "../schemas.ts";

const tag = "statistics";
const dayMs = 86_400_000;
const maxDays = 31;
/** So that a count ends while somebody waits for it. */
const maxMessages = 1_000_000;
const maxMonths = 12;

const day = z.iso.date({ error: "days are written as 2026-01-31" });
const count = z.number().int();
const dayShape = z.object({
  day: z.string().meta({ description: "When they were accepted, by UTC" }),
  "provider_id": z.string().nullable().meta({
    description: "Who took them or was tried last; null where none was",
  }),
  messages: count,
  recipients: count,
  bytes: count,
  delivered: count,
  failed: count,
  cancelled: count,
  unfinished: count,
  "enqueue_failed": count,
  "recipient_statuses": z.object(
    {
      accepted: count,
      delivered: count,
      deferred: count,
      bounced: count,
      complained: count,
      refused: count,
      suppressed: count,
      failed: count,
      unknown: count,
      cancelled: count,
    } satisfies Record<Exclude<RecipientStatus, "pending">, unknown>,
  ).optional().meta({
    description: "Recipients by status, when asked for; those who are left are still pending",
  }),
}).openapi("DayStatistics");
const statisticsShape = z.object({
  since: z.string(),
  until: z.string(),
  items: z.array(dayShape),
  truncated: z.boolean().meta({
    description: "Only the newest 1,000,000 messages were counted, besides those whose rows are gone",
  }),
}).openapi("Statistics");
const usageShape = z.object({
  month: z.string().meta({ description: "The first day of this month, by UTC" }),
  messages: count.meta({ description: "Handed in this month" }),
  "monthly_limit": count.meta({ description: "0 is unlimited" }),
  remaining: count.nullable().meta({ description: "Null when unlimited" }),
  "resets_at": z.string(),
  months: z.array(z.object({ month: z.string(), messages: count })).meta({
    description: "This month and the twelve before, newest first, as far as there was mail",
  }),
}).openapi("Usage");

/** How much mail went by whom, and how much of the month's limit is used. */
export function statisticsOperations(parts: Parts): readonly Operation[] {
  return [statistics(parts), usage(parts)];
}

function statistics(parts: Parts): Operation {
  return operation({
    action: "statistics:read",
    method: "get",
    path: "/api/v1/stats",
    tag,
    summary: "Count your group's messages by day and provider",
    query: z.strictObject({
      since: day.optional().meta({ description: "The first day; when not given, six days before the last" }),
      until: day.optional().meta({ description: `The last day, at most ${maxDays} days in all; today` }),
      detail: z.enum(["recipients"]).optional().meta({
        description: "Also count recipients by their status",
      }),
    }),
    answer: { status: 200, schema: statisticsShape },
    handle: async ({ query, ...asking }) => {
      const { first, last } = spanOf(query, Date.now());
      const end = new Date(last + dayMs);
      const { group } = asking.principal;
      const counting = { most: maxMessages, withRecipients: query.detail === "recipients" };
      const { days, isCut } = await countMessages(
        readingGroup(parts, group),
        group,
        new Date(first),
        end,
        counting,
      );
      return { since: dayText(first), until: dayText(last), items: days.map(dayOf), truncated: isCut };
    },
  });
}

/** The first and the last day that are asked for, each by its beginning; throws Refusal("request_invalid"). */
function spanOf(
  query: { readonly since?: string | undefined; readonly until?: string | undefined },
  now: number,
): { readonly first: number; readonly last: number } {
  const last = query.until === undefined ? now - now % dayMs : Date.parse(query.until);
  const first = query.since === undefined ? last - 6 * dayMs : Date.parse(query.since);
  if (first > last) throw invalid("since is after until");
  if (last - first >= maxDays * dayMs) throw invalid(`a span has at most ${maxDays} days`);
  return { first, last };
}

function invalid(sentence: string): Refusal {
  return new Refusal("request_invalid", sentence, { field: "since" });
}

function dayText(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

function dayOf(entry: DayCount): z.output<typeof dayShape> {
  return {
    day: entry.day,
    "provider_id": entry.providerId,
    messages: entry.messages,
    recipients: entry.recipients,
    bytes: entry.bytes,
    delivered: entry.delivered,
    failed: entry.failed,
    cancelled: entry.cancelled,
    unfinished: entry.unfinished,
    "enqueue_failed": entry.refused,
    ...entry.recipientStatuses && { "recipient_statuses": entry.recipientStatuses },
  };
}

function usage(parts: Parts): Operation {
  return operation({
    action: "statistics:read",
    method: "get",
    path: "/api/v1/usage",
    tag,
    summary: "Tell your group's monthly limit and its use",
    answer: { status: 200, schema: usageShape },
    handle: async (asking) => {
      const { group } = asking.principal;
      const found = await findUsage(findingInGroup(parts, group), group, maxMonths);
      if (found === undefined) throw new Refusal("not_found", "group not found");
      const { month, monthlyLimit, months, resetsAt } = found;
      const messages = months.find((used) => used.month === month)?.messages ?? 0;
      return {
        month,
        messages,
        "monthly_limit": monthlyLimit,
        remaining: monthlyLimit === 0 ? null : Math.max(0, monthlyLimit - messages),
        "resets_at": timeOf(resetsAt),
        months: [...months],
      };
    },
  });
}
