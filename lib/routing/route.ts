import type { ProviderId } from "../ids.ts";
import { recipientDomain } from "./checks.ts";
import type { MessageFacts, Reading } from "./message_facts.ts";
import { isForMessage, readingOf, type ReadyRule, readyRule, type RoutingRule } from "./routing_rule.ts";
import { shareOf } from "./share.ts";

/** What a route needs to know of a provider. */
export interface RoutableProvider {
  /** Absent for one that no rule can name. */
  readonly id?: ProviderId;
  readonly enabled: boolean;
}

/** How a group's mail finds its way. */
export interface Routing<Provider> {
  /** Those that are understood, first to be asked first. */
  readonly rules: readonly ReadyRule[];
  /** Rules that this program does not understand; they decide nothing. */
  readonly skipped: readonly RoutingRule[];
  /** Every enabled provider that mail may go by. */
  readonly providers: readonly Provider[];
  /** The way of mail that no rule is for: the oldest enabled provider alone (ruling 1.10), or nobody. */
  readonly otherwise: readonly Provider[];
  /** How far a message must be read before the rules can decide. */
  readonly reading: Reading;
  /** Names of header fields that rules ask for, in lower case. */
  readonly names: ReadonlySet<string>;
}

/** Some recipients of a message and the providers to try for them. */
export interface Leg<Provider, Recipient> {
  /** The rule that decided; absent where none did. */
  readonly rule?: ReadyRule;
  readonly recipients: readonly Recipient[];
  /** Best first, three at most; empty when they have to wait for one. */
  readonly route: readonly Provider[];
}

const longestRoute = 3;

/** Makes a group's rules and providers ready to plan by. */
export function routingOf<Provider extends RoutableProvider>(
  rules: readonly RoutingRule[],
  oldestFirst: readonly Provider[],
): Routing<Provider> {
  const ordered = rules.toSorted((a, b) => a.priority - b.priority || (a.id < b.id ? -1 : 1));
  const ready = ordered.flatMap((rule) => readyRule(rule) ?? []);
  const understood = new Set(ready.map(({ id }) => id));
  const enabled = oldestFirst.filter((provider) => provider.enabled);
  const named = new Set(ready.flatMap(({ providers }) => providers.map(({ id }) => id)));
  return {
    rules: ready,
    skipped: ordered.filter(({ id }) => !understood.has(id)),
    providers: enabled.filter(({ id }, index) => index === 0 || (id !== undefined && named.has(id))),
    otherwise: enabled.slice(0, 1),
    ...readingOf(ready),
  };
}

/**
 * The ways of a message's recipients: one leg for each rule that decides for any of them, in the order of its first
 * recipient. The first rule that matches decides (lowest priority number), for each recipient exactly one. A rule for
 * which a fact is missing that it needs does not match.
 */
export function planRoute<
  Provider extends RoutableProvider,
  Recipient extends { readonly address: string },
>(
  routing: Routing<Provider>,
  facts: MessageFacts,
  recipients: readonly Recipient[],
): readonly Leg<Provider, Recipient>[] {
  const candidates = candidatesOf(routing.rules, facts);
  const byRule = new Map<ReadyRule | undefined, Recipient[]>();
  const byDomain = new Map<string, ReadyRule | undefined>();
  for (const recipient of recipients) {
    const domain = recipientDomain(recipient.address);
    if (!byDomain.has(domain)) byDomain.set(domain, candidates.find((rule) => isForRecipient(rule, domain)));
    const rule = byDomain.get(domain);
    const leg = byRule.get(rule);
    if (leg === undefined) byRule.set(rule, [recipient]);
    else leg.push(recipient);
  }
  return [...byRule].map(([rule, theirs]) =>
    rule === undefined
      ? { recipients: theirs, route: routing.otherwise }
      : { rule, recipients: theirs, route: routeOf(rule, routing.providers, facts.id) }
  );
}

/** Whether a rule is for recipients of a domain. */
export function isForRecipient({ isForDomain }: ReadyRule, domain: string): boolean {
  return isForDomain === undefined || isForDomain(domain);
}

/** The rules that are for the message, down to the first that is for all its recipients. */
function candidatesOf(rules: readonly ReadyRule[], facts: MessageFacts): readonly ReadyRule[] {
  const candidates: ReadyRule[] = [];
  for (const rule of rules) {
    if (isForMessage(rule, facts) !== true) continue;
    candidates.push(rule);
    if (rule.isForDomain === undefined) break;
  }
  return candidates;
}

/**
 * The enabled providers of a rule, best first, three at most. Where they have weights, these decide by the message's
 * id who comes first, always the same for the same message; the others follow in the rule's order.
 */
export function routeOf<Provider extends RoutableProvider>(
  rule: RoutingRule,
  providers: readonly Provider[],
  message: string,
): readonly Provider[] {
  const named = rule.providers.flatMap(({ id, weight }) => {
    const provider = providers.find((candidate) => candidate.id === id && candidate.enabled);
    return provider === undefined ? [] : [{ provider, weight: weight ?? 0 }];
  }).slice(0, longestRoute);
  const total = named.reduce((sum, { weight }) => sum + weight, 0);
  let rest = total * shareOf(`weights ${rule.id}`, message);
  const first = total === 0 ? 0 : named.findIndex(({ weight }) => (rest -= weight) < 0);
  return named.slice(first, first + 1).concat(named.filter((_, index) => index !== first))
    .map(({ provider }) => provider);
}
