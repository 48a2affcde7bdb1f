import type { Conditions } from "./conditions.ts";
import type { MessageFacts, Reading } from "./message_facts.ts";
import {
  addressMatcher,
  comparableAddress,
  comparableDomain,
  domainMatcher,
  type Matcher,
  textMatcher,
} from "./patterns.ts";
import { shareOf } from "./share.ts";
import { localTimeText, windowTest } from "./time_window.ts";

/** One condition of one rule, ready to be asked. */
export interface Check {
  readonly condition: keyof Conditions;
  readonly reading: Reading;
  /** The value that decides, for people; undefined when it is not known. */
  readonly actual: (facts: MessageFacts) => unknown;
  /** Undefined when a fact that it needs is not known. */
  readonly isMet: (facts: MessageFacts) => boolean | undefined;
}

/** The conditions on the message, the cheapest first; the one on the recipient is `recipientMatcher`'s. */
export function checksOf(rule: string, conditions: Conditions): readonly Check[] {
  return [
    ...envelopeChecks(rule, conditions),
    ...headerChecks(conditions),
    ...attachmentCheck(conditions),
  ];
}

/** Says whether a recipient's domain is one that the rule is for; undefined for a rule that is for all. */
export function recipientMatcher({ recipient_domain: domains }: Conditions): Matcher | undefined {
  if (domains === undefined) return undefined;
  return anyOf(listOf(domains).map(domainMatcher));
}

/** The domain of a recipient, as `recipientMatcher` compares it. */
export function recipientDomain(address: string): string {
  return comparableDomain(address.slice(address.lastIndexOf("@") + 1));
}

function envelopeChecks(rule: string, conditions: Conditions): readonly Check[] {
  const { sender, smtp_account: accounts, size, time, percentage } = conditions;
  const checks: Check[] = [];
  const add = <T>(
    condition: keyof Conditions,
    fact: (facts: MessageFacts) => T | undefined,
    test: (value: T) => boolean,
    show: (value: T) => unknown = (value) => value,
  ) => checks.push(checkOf(condition, "envelope", fact, test, show));
  if (sender !== undefined) {
    const matches = anyOf(listOf(sender).map(addressMatcher));
    add("sender", (facts) => facts.sender, (address) => matches(comparableAddress(address)));
  }
  if (accounts !== undefined) {
    const ids = new Set(listOf(accounts));
    add("smtp_account", (facts) => facts.account, (account) => ids.has(account));
  }
  if (size !== undefined) {
    const { min = 0, max = Infinity } = size;
    add("size", (facts) => facts.size, (bytes) => bytes >= min && bytes <= max);
  }
  if (time !== undefined) {
    const isIn = windowTest(time);
    add("time", ({ now }) => now, isIn, (now) => localTimeText(time.zone, now));
  }
  if (percentage !== undefined) {
    const share = ({ id }: MessageFacts) => 100 * shareOf(rule, id);
    add("percentage", share, (value) => value < percentage, (value) => Math.round(100 * value) / 100);
  }
  return checks;
}

function headerChecks({ header_from: from, subject, header }: Conditions): readonly Check[] {
  const checks: Check[] = [];
  if (from !== undefined) {
    const matches = anyOf(listOf(from).map(addressMatcher));
    const test = (addresses: readonly string[]) =>
      addresses.some((address) => matches(comparableAddress(address)));
    checks.push(checkOf("header_from", "header", (facts) => facts.from, test));
  }
  if (subject !== undefined) {
    const matches = anyOf(listOf(subject).map(textMatcher));
    checks.push(
      checkOf("subject", "header", (facts) => facts.subject, (text) => matches(text.toLowerCase())),
    );
  }
  for (const { name, matches } of header === undefined ? [] : listOf(header)) {
    const isOne = matches === undefined ? () => true : anyOf(listOf(matches).map(textMatcher));
    const texts = ({ fields }: MessageFacts) => fields && (fields.get(name.toLowerCase()) ?? []);
    const show = (values: readonly string[]) => ({ name, values });
    checks.push(
      checkOf("header", "header", texts, (found) => found.some((text) => isOne(text.toLowerCase())), show),
    );
  }
  return checks;
}

function attachmentCheck({ attachment }: Conditions): readonly Check[] {
  if (attachment === undefined) return [];
  return [checkOf("attachment", "parts", (facts) => facts.hasAttachment, (has) => has === attachment)];
}

function checkOf<T>(
  condition: keyof Conditions,
  reading: Reading,
  fact: (facts: MessageFacts) => T | undefined,
  test: (value: T) => boolean,
  show: (value: T) => unknown = (value) => value,
): Check {
  return {
    condition,
    reading,
    actual: (facts) => whenKnown(fact(facts), show),
    isMet: (facts) => whenKnown(fact(facts), test),
  };
}

function whenKnown<T, R>(value: T | undefined, use: (value: T) => R): R | undefined {
  return value === undefined ? undefined : use(value);
}

function anyOf(matchers: readonly Matcher[]): Matcher {
  return (text) => matchers.some((matches) => matches(text));
}

function listOf<T>(value: T | readonly T[]): readonly T[] {
  return Array.isArray(value) ? value : [value as T];
}
