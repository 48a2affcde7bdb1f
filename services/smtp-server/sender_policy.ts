import { normalDomain } from "../../lib/mime/address.ts";
import type { AccountPolicy } from "./intake.ts";

/** Whether a domain (lower-case A-labels) is in a list of names, `*.name` (its subdomains) and `*` (any). */
export function isAllowed(domain: string, allowed: readonly string[] | undefined): boolean {
  return allowed?.some((entry) => matches(domain, entry)) ?? false;
}

/** Whether an account may send from a domain: its own list decides, within its group's where that is required. */
export function maySendFrom(
  domain: string,
  policy: Pick<AccountPolicy, "allowedDomains" | "groupDomains">,
  requireGroupDomains: boolean,
): boolean {
  if (!isAllowed(domain, policy.allowedDomains)) return false;
  return !requireGroupDomains || isAllowed(domain, policy.groupDomains);
}

/** The list for a reply, so that the sender sees what to change; bounded. */
export function describeAllowed(allowed: readonly string[] | undefined): string {
  if (allowed === undefined || allowed.length === 0) return "none";
  const shown = allowed.slice(0, 8).join(", ");
  return allowed.length > 8 ? `${shown} and ${allowed.length - 8} more` : shown;
}

function matches(domain: string, entry: string): boolean {
  const pattern = entry.trim();
  if (pattern === "*") return true;
  if (pattern.startsWith("*.")) {
    const parent = normalDomain(pattern.slice(2));
    return parent !== undefined && domain.endsWith(`.${parent}`);
  }
  return normalDomain(pattern) === domain;
}
