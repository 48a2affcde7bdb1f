import type { ProviderId } from "../ids.ts";
import { type Check, checksOf, recipientMatcher } from "./checks.ts";
import { parseConditions } from "./conditions.ts";
import type { MessageFacts, Reading } from "./message_facts.ts";
import type { Matcher } from "./patterns.ts";

/** One group's wish where its mail is to go; the enabled rule with the lowest priority number that matches decides. */
export interface RoutingRule {
  readonly id: string;
  /** Lower comes first. */
  readonly priority: number;
  readonly conditions: Readonly<Record<string, unknown>>;
  /** Best first, three at most. */
  readonly providers: readonly RuleProvider[];
}

/** A provider that a rule names. */
export interface RuleProvider {
  readonly id: ProviderId;
  /** Its share of messages among those that have one; null where the order alone decides. */
  readonly weight: number | null;
}

/** A rule whose conditions this program understands, ready to be asked. */
export interface ReadyRule extends RoutingRule {
  readonly checks: readonly Check[];
  /** Undefined for a rule that is for every recipient. */
  readonly isForDomain: Matcher | undefined;
}

/** A rule ready to be asked; undefined when it has conditions that this program does not understand. */
export function readyRule(rule: RoutingRule): ReadyRule | undefined {
  const conditions = parseConditions(rule.conditions);
  if (conditions === undefined) return undefined;
  return { ...rule, checks: checksOf(rule.id, conditions), isForDomain: recipientMatcher(conditions) };
}

/** Whether a rule is for a message, its recipients aside; undefined when that depends on a fact that is not known. */
export function isForMessage({ checks }: ReadyRule, facts: MessageFacts): boolean | undefined {
  let isKnown = true;
  for (const check of checks) {
    const isMet = check.isMet(facts);
    if (isMet === false) return false;
    if (isMet === undefined) isKnown = false;
  }
  return isKnown ? true : undefined;
}

/** How far a message must be read before these rules can decide, and which fields of its header they ask for. */
export function readingOf(
  rules: readonly ReadyRule[],
): { readonly reading: Reading; readonly names: ReadonlySet<string> } {
  const checks = rules.flatMap((rule) => rule.checks);
  const names = rules.flatMap(({ conditions }) => parseConditions(conditions)?.header ?? [])
    .map(({ name }) => name.toLowerCase());
  const reading = (["parts", "header"] as const).find((one) => checks.some((check) => check.reading === one));
  return { reading: reading ?? "envelope", names: new Set(names) };
}
