import { Refusal } from "../refusal.ts";

/** Whether a pattern (`*`, `*.example.com` or a domain) covers everything that another one covers. */
export function covers(pattern: string, other: string): boolean {
  if (pattern === "*" || pattern === other) return true;
  return pattern.startsWith("*.") && other !== "*" && other.endsWith(pattern.slice(1));
}

/** The first domain that no pattern of the group covers; undefined when all lie within (ruling 3.14). */
export function domainOutside(
  domains: readonly string[],
  groupDomains: readonly string[],
): string | undefined {
  return domains.find((domain) => !groupDomains.some((pattern) => covers(pattern, domain)));
}

/** Throws Refusal("domain_not_allowed") when a group's patterns do not cover one of the domains (ruling 3.14). */
export function requireWithin(domains: readonly string[], groupDomains: readonly string[]): void {
  const outside = domainOutside(domains, groupDomains);
  if (outside === undefined) return;
  const sentence = `allowed_domains: the group may not use "${outside}"`;
  throw new Refusal("domain_not_allowed", sentence, { field: "allowed_domains" });
}
