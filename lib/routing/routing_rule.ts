import type { ProviderId } from "../ids.ts";

/** One group's wish where its mail is to go; the enabled rule with the lowest priority number that matches decides. */
export interface RoutingRule {
  readonly id: string;
  /** Lower comes first. */
  readonly priority: number;
  readonly conditions: Readonly<Record<string, unknown>>;
  /** Best first, three at most. */
  readonly providers: readonly ProviderId[];
}

/** Whether this program knows what the rule's conditions mean: today a rule without any, which matches all mail. */
export function isUnderstood(rule: RoutingRule): boolean {
  return Object.keys(rule.conditions).length === 0;
}
