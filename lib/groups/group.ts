import type { GroupId } from "../ids.ts";

/** `system` is the operator's own group, of which there is one; every other is a `company`. */
export type GroupType = "system" | "company";

/** Suspended: nothing is accepted and queued mail waits (ruling 3.20). */
export type GroupStatus = "active" | "suspended" | "deleted";

/** What a member may do in a group, from most to least. */
export type Role = "owner" | "admin" | "member";

/** A tenant. */
export interface Group {
  readonly id: GroupId;
  /** Unique among all groups. */
  readonly name: string;
  readonly groupType: GroupType;
  readonly status: GroupStatus;
  /** Messages a month (UTC); 0 is unlimited. */
  readonly monthlyLimit: number;
  /** The domains its accounts may be given (ruling 3.14). */
  readonly allowedDomains: readonly string[];
}
