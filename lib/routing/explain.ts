import { recipientDomain } from "./checks.ts";
import type { Conditions } from "./conditions.ts";
import type { MessageFacts } from "./message_facts.ts";
import { isForRecipient, type RoutableProvider, routeOf, type Routing } from "./route.ts";
import type { ReadyRule, RoutingRule } from "./routing_rule.ts";

/** Why one recipient's mail goes where it goes. */
export interface Explanation<Provider> {
  readonly recipient: string;
  /** The rule that decides; undefined where none does. */
  readonly rule?: RoutingRule;
  /** A fact is missing that decides which rule it is, so that `route` is empty. */
  readonly isUnknown: boolean;
  /** The providers to try, best first. */
  readonly route: readonly Provider[];
  /** Every rule, in the order in which they are asked. */
  readonly rules: readonly RuleExplanation[];
}

/** What became of one rule. */
export interface RuleExplanation {
  readonly rule: RoutingRule;
  /** `not_asked`: one before it decided. `skipped`: its conditions are not understood. */
  readonly result: RuleResult;
  /** One for each condition of a rule that was asked. */
  readonly conditions: readonly ConditionExplanation[];
}

/** What may become of a rule. */
export const ruleResults = ["matched", "not_matched", "unknown", "not_asked", "skipped"] as const;

/** One of them. */
export type RuleResult = (typeof ruleResults)[number];

/** What a condition found. */
export interface ConditionExplanation {
  readonly condition: keyof Conditions;
  /** Null when the fact that decides is not known. */
  readonly isMet: boolean | null;
  /** What the message has; null when it is not known. */
  readonly actual: unknown;
}

/** Says of one recipient which rule decides, which do not and why, and the way that follows: as `planRoute` plans. */
export function explainRoute<Provider extends RoutableProvider>(
  routing: Routing<Provider>,
  facts: MessageFacts,
  recipient: string,
): Explanation<Provider> {
  const domain = recipientDomain(recipient);
  const rules: RuleExplanation[] = [];
  let decided: ReadyRule | undefined;
  let isUnknown = false;
  for (const rule of routing.rules) {
    if (decided !== undefined || isUnknown) {
      rules.push({ rule, result: "not_asked", conditions: [] });
      continue;
    }
    const conditions = conditionsOf(rule, facts, domain);
    const result = resultOf(conditions);
    rules.push({ rule, result, conditions });
    if (result === "matched") decided = rule;
    if (result === "unknown") isUnknown = true;
  }
  rules.push(...routing.skipped.map((rule) => ({ rule, result: "skipped", conditions: [] } as const)));
  const route = decided === undefined ? routing.otherwise : routeOf(decided, routing.providers, facts.id);
  return {
    recipient,
    ...(decided !== undefined && { rule: decided }),
    isUnknown,
    route: isUnknown ? [] : route,
    rules,
  };
}

function conditionsOf(
  rule: ReadyRule,
  facts: MessageFacts,
  domain: string,
): readonly ConditionExplanation[] {
  const found = rule.checks.map((check): ConditionExplanation => ({
    condition: check.condition,
    isMet: check.isMet(facts) ?? null,
    actual: check.actual(facts) ?? null,
  }));
  if (rule.isForDomain === undefined) return found;
  return [...found, {
    condition: "recipient_domain",
    isMet: isForRecipient(rule, domain),
    actual: domain,
  }];
}

function resultOf(conditions: readonly ConditionExplanation[]): RuleResult {
  if (conditions.some(({ isMet }) => isMet === false)) return "not_matched";
  return conditions.some(({ isMet }) => isMet === null) ? "unknown" : "matched";
}
