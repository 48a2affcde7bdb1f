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
