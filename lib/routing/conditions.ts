import { z } from "zod";
import { longestPattern, mostStars } from "./patterns.ts";
import { isZone, weekdays } from "./time_window.ts";

const stars = "`*` stands for any run of characters; upper and lower case are the same";

const pattern = z.string().min(1).max(longestPattern)
  .refine(
    (text) => text.split("*").length - 1 <= mostStars,
    `a pattern has at most ${mostStars} stars`,
  );
const addressPattern = pattern.regex(
  /^(<>|([^\s@<>]+@)?[^\s@<>]+)$/,
  "an address is written as someone@example.com, *@example.com, example.com or *.example.com",
);
// One star, because it is compared with every recipient's domain.
const domainPattern = pattern.regex(
  /^[^\s@<>*]{0,320}\*?[^\s@<>*]{0,320}$/,
  "a domain is written as example.com or *.example.com",
);
const minute = z.string().regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, "a time of the day is written as 08:30");

function oneOrMore<T extends z.ZodType>(one: T, most = 100) {
  return z.union([one, z.array(one).min(1).max(most)]);
}

const header = z.strictObject({
  name: z.string().regex(/^[!-9;-~]{1,100}$/, "name is the name of a header field"),
  matches: oneOrMore(pattern).optional().meta({
    description: `The field's text; when not given the field has to be there. ${stars}`,
  }),
});

const size = z.strictObject({
  min: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  max: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
}).refine(({ min, max }) => min !== undefined || max !== undefined, "size has min or max, or both")
  .refine(({ min = 0, max = Infinity }) => min <= max, "min is above max");

const time = z.strictObject({
  zone: z.string().max(100).refine(isZone, "zone is one of the IANA database, such as Europe/Berlin"),
  days: z.array(z.enum(weekdays)).min(1).max(7).optional().meta({
    description: "The days on which the window begins; all when not given",
  }),
  from: minute.optional(),
  to: minute.optional().meta({ description: "Earlier than from: on the next day" }),
}).refine(({ from = "00:00", to = "24:00" }) => from !== to && from !== "24:00", "the window is empty");

/**
 * What has to be true of a message for a rule to decide its way: every condition that is given, any of the values
 * where several are. Conditions that nobody documented are refused.
 */
export const conditionsSchema = z.strictObject({
  sender: oneOrMore(addressPattern).optional().meta({
    description:
      `The envelope's sender: an address, or a domain. ${stars}; <> is the sender of delivery reports`,
  }),
  "header_from": oneOrMore(addressPattern).optional().meta({
    description: `An address of the header From, or its domain. ${stars}`,
  }),
  "recipient_domain": oneOrMore(domainPattern).optional().meta({
    description: `The domain of the recipient, decided for each recipient alone. ${stars}`,
  }),
  "smtp_account": oneOrMore(z.guid("smtp_account is an id").toLowerCase()).optional().meta({
    description: "The id of the SMTP account that submitted the message",
  }),
  header: oneOrMore(header, 10).optional().meta({
    description: "Header fields that have to be there, or to match; all of them",
  }),
  subject: oneOrMore(pattern).optional().meta({ description: `The subject's whole text. ${stars}` }),
  size: size.optional().meta({ description: "Bytes of the message as it was accepted" }),
  attachment: z.boolean().optional().meta({ description: "Whether it has an attached file" }),
  time: time.optional().meta({ description: "When the message is sent, by the clocks of a place" }),
  percentage: z.number().min(0).max(100).optional().meta({
    description: "The share of messages that match, by a hash of the message's id that never changes: " +
      "a rule that is given a larger share keeps those it had",
  }),
});

/** The conditions of a rule, as they are documented. */
export type Conditions = z.output<typeof conditionsSchema>;

/** The conditions, when this program knows what all of them mean. */
export function parseConditions(conditions: unknown): Conditions | undefined {
  const parsed = conditionsSchema.safeParse(conditions);
  return parsed.success ? parsed.data : undefined;
}
