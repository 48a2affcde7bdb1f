import { z } from "zod";
import type { ProviderId, UserId } from "../../lib/ids.ts";
import { Refusal } from "../../lib/refusal.ts";
import { ruleBody, wishOf } from "../../lib/routing/rule_body.ts";
import type { RuleWish } from "../../lib/routing/rule_entries_table.ts";

const named = z.union([
  z.string().min(1).max(255),
  z.strictObject({ name: z.string().min(1).max(255), weight: z.number().optional() }),
], "a provider is its name, or {name, weight}");

/** A rule as a file says it: with providers by name, and accounts by e-mail address. */
export const ruleInFile = ruleBody.omit({ "provider_id": true }).extend({
  conditions: z.record(z.string(), z.unknown()).default({}),
  providers: z.array(named),
});
/** The same, read. */
export type RuleInFile = z.output<typeof ruleInFile>;

/** What stands for the names in a rule. */
export interface RuleNames {
  readonly id: string;
  /** Where the file does not say it. */
  readonly enabled: boolean;
  readonly providerOf: (name: string) => ProviderId | undefined;
  readonly accountOf: (emailOrId: string) => UserId | undefined;
}

/** A rule as its table takes it, or everything that is wrong with it, each sentence with its field. */
export function wishOfRule(
  rule: RuleInFile,
  { id, enabled, providerOf, accountOf }: RuleNames,
): RuleWish | { readonly mistakes: readonly string[] } {
  const mistakes: string[] = [];
  const account = (text: unknown) => {
    const found = typeof text === "string" ? accountOf(text) : undefined;
    if (found === undefined) {
      mistakes.push(`conditions.smtp_account: there is no account ${JSON.stringify(text)}`);
    }
    return found;
  };
  const given = rule.conditions["smtp_account"];
  const conditions = given === undefined ? rule.conditions : {
    ...rule.conditions,
    "smtp_account": Array.isArray(given) ? given.map(account) : account(given),
  };
  const providers = rule.providers.map((one) => {
    const { name, weight } = typeof one === "string" ? { name: one } : { weight: undefined, ...one };
    const provider = providerOf(name);
    if (provider === undefined) mistakes.push(`providers: there is no provider ${JSON.stringify(name)}`);
    return { "provider_id": provider, ...weight !== undefined && { weight } };
  });
  if (mistakes.length > 0) return { mistakes };
  const parsed = ruleBody.safeParse({ ...rule, conditions, providers });
  if (!parsed.success) {
    return {
      mistakes: parsed.error.issues.map(({ path, message }) => `${path.map(String).join(".")}: ${message}`),
    };
  }
  try {
    return wishOf(id, parsed.data, enabled);
  } catch (error) {
    if (error instanceof Refusal) return { mistakes: [`${error.options.field}: ${error.message}`] };
    throw error;
  }
}

/** Whether a text is an id. */
export function isId(text: string): boolean {
  return z.guid().safeParse(text).success;
}
