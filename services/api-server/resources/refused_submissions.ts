import { z } from "@hono/zod-openapi";
import { normalAddress, parseCidr } from "../../../lib/network/cidr.ts";
import { Refusal } from "../../../lib/refusal.ts";
import {
  listNobodysRefused,
  listRefused,
  type RefusedEntry,
  type RefusedFilter,
} from "../../../lib/refused_submissions/refused_submissions_table.ts";
import { isOperator } from "../access/principal.ts";
import { type Operation, operation } from "../operation.ts";
import { asOperator, inGroup, type Parts } from "../parts.ts";
import { dateOf, listed, listOf, moment, page, pageOf, timeOf } from "../schemas.ts";

const refusedShape = z.object({
  id: z.string(),
  "refused_at": z.string(),
  times: z.number().int().meta({
    description: "How many refusals of the same kind this stands for; what it says besides is the last one's",
  }),
  "first_refused_at": z.string(),
  address: z.string().nullable().meta({ description: "The client's IP address" }),
  account: z.string().nullable().meta({ description: "The name that was logged in with, or tried" }),
  command: z.string().meta({ description: "For MAIL and RCPT as it was given" }),
  sender: z.string().nullable().meta({ description: "The envelope sender, where MAIL was accepted before" }),
  code: z.number().int().meta({ description: "The basic reply code" }),
  "enhanced_code": z.string().nullable(),
  reason: z.string(),
  reply: z.string().meta({ description: "The sentence of the reply" }),
  tls: z.string().nullable().meta({ description: "Null without TLS" }),
  "correlation_id": z.string(),
}).openapi("RefusedSubmission");

const query = page.extend({
  account: z.string().trim().min(1).max(255).optional().meta({ description: "The whole name, in any case" }),
  address: z.string().trim().max(64).refine((text) => parseCidr(text) !== undefined, {
    error: "address must be an IP address or a network such as 192.0.2.0/24",
  }).optional(),
  code: z.coerce.number().int().min(400).max(599).optional().meta({ description: "The basic reply code" }),
  reason: z.string().trim().min(1).max(64).optional(),
  since: moment.optional().meta({ description: "Refused at this moment or later" }),
  until: moment.optional().meta({ description: "Refused before this moment" }),
  "without_group": z.enum(["true", "false"]).optional().meta({
    description: "`true`: those of names that are no account's, for system administrators",
  }),
});

/** Logins and mail that were refused at SMTP, so that nobody has to look for them in a log. */
export function refusedSubmissionOperations(parts: Parts): readonly Operation[] {
  return [
    operation({
      action: "messages:read",
      method: "get",
      path: "/api/v1/refused-submissions",
      tag: "messages",
      summary: "List logins and mail that were refused at SMTP, newest first",
      description:
        "The newest 10,000 of a group. What is refused again for the same reason within a minute is counted.",
      query,
      answer: {
        status: 200,
        schema: listOf(refusedShape),
      },
      handle: async ({ query, ...asking }) => {
        const wanted = pageOf("refused-submissions", query);
        const filter = filterOf(query);
        const { principal } = asking;
        const isNobodys = query.without_group === "true";
        if (isNobodys && !isOperator(principal)) {
          throw new Refusal("permission_missing", "without_group is for system administrators");
        }
        const found = isNobodys
          ? await asOperator(parts, asking, (sql) => listNobodysRefused(sql, filter, wanted))
          : await inGroup(parts, asking, (sql) => listRefused(sql, principal.group, filter, wanted));
        return listed("refused-submissions", found, wanted.limit, refusedOf);
      },
    }),
  ];
}

function filterOf(wanted: z.output<typeof query>): RefusedFilter {
  const { account, address, code, reason } = wanted;
  return {
    account,
    address: address?.includes("/") === false ? normalAddress(address) : address,
    code,
    reason,
    since: dateOf(wanted.since),
    until: dateOf(wanted.until),
  };
}

function refusedOf(entry: RefusedEntry): z.output<typeof refusedShape> {
  return {
    id: entry.id,
    "refused_at": timeOf(entry.lastAt),
    times: entry.times,
    "first_refused_at": timeOf(entry.firstAt),
    address: entry.address,
    account: entry.account,
    command: entry.command,
    sender: entry.sender,
    code: entry.code,
    "enhanced_code": entry.enhanced,
    reason: entry.reason,
    reply: entry.reply,
    tls: entry.tls,
    "correlation_id": entry.correlationId,
  };
}
