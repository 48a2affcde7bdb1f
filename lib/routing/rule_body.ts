import { z } from "zod";
import type { ProviderId } from "../ids.ts";
import { Refusal } from "../refusal.ts";
import { conditionsSchema } from "./conditions.ts";
import type { RuleProvider } from "./routing_rule.ts";
import type { RuleWish } from "./rule_entries_table.ts";

const providerId = z.guid({ error: "invalid provider_id format" }).toLowerCase().meta({
  format: "uuid",
  example: "019aa7e4-6f00-7000-8000-000000000000",
});
/** A rule as it is given, on POST and PUT. */
export const ruleBody = z.strictObject({
  priority: z.number().int().min(-1_000_000_000).max(1_000_000_000).default(0).meta({
    description: "Rules are asked from the lowest number up; the first that matches decides",
  }),
  conditions: conditionsSchema.default({}).meta({
    description: "All that are given have to hold; without any the rule matches all mail",
  }),
  "provider_id": providerId.optional().meta({ description: "Instead of `providers`, where there is one" }),
  providers: z.array(
    z.strictObject({ "provider_id": providerId, weight: z.number().int().min(0).max(100).optional() }),
  )
    .min(1).max(3).optional().meta({
      description: "Tried one after the other; with weights these decide by the message's id who is first",
    }),
  enabled: z.boolean().optional().meta({ description: "When not given: true, or as it was" }),
});
/** What a rule is to be. */
export type RuleBody = z.output<typeof ruleBody>;

/** A rule as its table takes it; `enabled` where the body leaves that out. Throws Refusal("request_invalid"). */
export function wishOf(id: string, body: RuleBody, enabled: boolean): RuleWish {
  const { priority, conditions } = body;
  return { id, priority, conditions, enabled: body.enabled ?? enabled, providers: providersOf(body) };
}

function providersOf({ provider_id: first, providers = [] }: RuleBody): readonly RuleProvider[] {
  if (providers.length === 0) {
    if (first === undefined) throw invalid("provider_id", "provider_id is required");
    return [{ id: first as ProviderId, weight: null }];
  }
  if (first !== undefined && first !== providers[0]?.provider_id) {
    throw invalid("provider_id", "provider_id is the first of providers, where both are given");
  }
  if (new Set(providers.map((one) => one.provider_id)).size < providers.length) {
    throw invalid("providers", "providers names one provider twice");
  }
  const weights = providers.flatMap(({ weight }) => weight ?? []);
  if (weights.length > 0 && weights.length < providers.length) {
    throw invalid("providers", "either all of providers have a weight or none has");
  }
  if (weights.length > 0 && weights.every((weight) => weight === 0)) {
    throw invalid("providers", "one of the weights has to be above 0");
  }
  return providers.map(({ provider_id: id, weight }) => ({
    id: id as ProviderId,
    weight: weight ?? null,
  }));
}

function invalid(field: string, sentence: string): Refusal {
  return new Refusal("request_invalid", sentence, { field });
}
