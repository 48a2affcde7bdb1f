import type { ProviderId } from "../ids.ts";
import { isUnderstood, type RoutingRule } from "./routing_rule.ts";

/** What a route needs to know of a provider. */
export interface RoutableProvider {
  readonly id: ProviderId;
  readonly enabled: boolean;
}

const longestRoute = 3;

/**
 * The providers to try for a message, best first, three at most: those the first rule that matches names, or without
 * such a rule the oldest enabled provider alone (ruling 1.10). Empty when the message has to wait for one.
 */
export function planRoute<Provider extends RoutableProvider>(
  rules: readonly RoutingRule[],
  oldestFirst: readonly Provider[],
): readonly Provider[] {
  const enabled = oldestFirst.filter((provider) => provider.enabled);
  const rule = rules.filter(isUnderstood).sort((a, b) => a.priority - b.priority)[0];
  if (rule === undefined) return enabled.slice(0, 1);
  const named = rule.providers.flatMap((id) => enabled.find((provider) => provider.id === id) ?? []);
  return named.slice(0, longestRoute);
}
