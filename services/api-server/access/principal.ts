import type { GroupId, UserId } from "../../../lib/ids.ts";
import { Refusal } from "../../../lib/refusal.ts";
import { type Action, type Grade, gradeMay, isScope } from "./permissions.ts";

interface Caller {
  readonly user: UserId;
  readonly email: string;
  /** The group of the session or the key. */
  readonly home: GroupId;
  /** The group acted in: `home`, or the one that a system administrator named (ruling 1.22). */
  readonly group: GroupId;
}

/** A person with a session. */
export interface Person extends Caller {
  readonly kind: "person";
  readonly session: string;
  readonly grade: Grade;
  /** The request named the group it acts in. */
  readonly named: boolean;
}

/** An SMTP account by one of its API keys. */
export interface KeyHolder extends Caller {
  readonly kind: "key";
  readonly key: string;
  readonly scopes: readonly string[];
}

/** Who calls, already known to be active, as is the group. */
export type Principal = Person | KeyHolder;

/** A person of the operator's group. */
export interface Operator extends Person {
  readonly grade: Extract<Grade, `system_${string}`>;
}

/** Whether a principal belongs to the operator's group and may so see every group. */
export function isOperator(principal: Principal): principal is Operator {
  return principal.kind === "person" && principal.grade.startsWith("system_");
}

/** Whether a principal may do something, by grade or by scope. */
export function may(principal: Principal, action: Action): boolean {
  if (principal.kind === "person") return gradeMay(principal.grade, action);
  return isScope(action) && principal.scopes.includes(action);
}

/** Throws Refusal: permission_missing, scope_missing. */
export function authorize(principal: Principal, action: Action): void {
  if (may(principal, action)) return;
  if (principal.kind === "key") throw new Refusal("scope_missing", `The key has no scope for ${action}`);
  throw new Refusal("permission_missing", `Your role does not allow ${action}`);
}

/**
 * The group that a path names, when the principal may act there; the ids of other groups are as unknown as ids that
 * do not exist. Throws Refusal("not_found").
 */
export function groupOfPath(principal: Principal, id: string): GroupId {
  const given = id.toLowerCase();
  if (principal.group === given) return principal.group;
  if (isOperator(principal) && !principal.named) return given as GroupId;
  throw new Refusal("not_found", "group not found");
}
