import type { Role } from "../../../lib/groups/group.ts";
import type { GroupId } from "../../../lib/ids.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { isOperator, type Principal } from "./principal.ts";

/**
 * Whether a principal may give, take or touch a role in a group: owners every role of their group, admins members
 * alone, system administrators every role but that of a system owner.
 */
export function outranks(principal: Principal, group: GroupId, role: Role): boolean {
  if (principal.kind === "key") return false;
  if (isOperator(principal)) {
    if (principal.grade === "system_owner") return true;
    return principal.grade === "system_admin" && (group !== principal.home || role !== "owner");
  }
  if (group !== principal.group) return false;
  return principal.grade === "owner" || (principal.grade === "admin" && role === "member");
}

/** Throws Refusal("rank_too_low") with the sentence unless the principal outranks the role. */
export function requireRank(principal: Principal, group: GroupId, role: Role, sentence: string): void {
  if (!outranks(principal, group, role)) throw new Refusal("rank_too_low", sentence);
}
