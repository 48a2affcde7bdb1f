import { type Activity, recordActivity } from "../../lib/activity/activity_table.ts";
import type { GroupId } from "../../lib/ids.ts";
import type { LongestTerms } from "../../lib/messages/body_terms.ts";
import type { Database } from "../../lib/postgres/database.ts";
import type { GroupSql, Sql, SystemSql } from "../../lib/postgres/sql.ts";
import type { reportResults } from "../../lib/telemetry/metrics_declared.ts";
import type { ConflictThrottle } from "./access/conflict_throttle.ts";
import type { LoginDesk } from "./access/login.ts";
import { isOperator, type Principal } from "./access/principal.ts";
import type { ProviderParts } from "./provider_parts.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import type { Call } from "./call.ts";
import type { MailParts } from "./mail_parts.ts";

/** One pool for each role that the API acts in (ruling 3.8). */
export interface Databases {
  /** Before it is known who calls. */
  readonly login: Database;
  /** Within one group. */
  readonly group: Database;
  /** For members of the operator's group. */
  readonly admin: Database;
}

/** What the handlers are made of. */
export interface Parts {
  readonly databases: Databases;
  readonly desk: LoginDesk;
  readonly conflicts: ConflictThrottle;
  readonly mail: MailParts;
  /** An account's sender domains must lie within its group's. */
  readonly requireGroupDomains: boolean;
  readonly defaultMonthlyLimit: number;
  /** How long bodies are kept at most. */
  readonly longestTerms: LongestTerms;
  readonly providers: ProviderParts;
  /** Told of each report of an email service: what became of it, and how many events were new. */
  readonly onReport: OnReport;
  /** For what is no answer to anybody. */
  readonly log: Log;
}

/** Told of a report of a kind of email service. */
export type OnReport = (kind: string, result: (typeof reportResults)[number], events: number) => void;

/** Who asks, as far as telling of a change needs it. */
export interface Asking {
  readonly principal: Principal;
  readonly call: Call;
}

/** Tells of a change in its own transaction; `group` is the group that was changed. */
export type Note = (
  change: Pick<Activity, "action" | "resourceType" | "resourceId" | "changes" | "comment"> & {
    readonly group?: GroupId;
  },
) => Promise<void>;

/** A transaction that sees one group's rows alone: the principal's, or one that `groupOfPath` answered. */
export async function inGroup<T>(
  parts: Parts,
  asking: Asking,
  work: (sql: GroupSql, note: Note) => Promise<T>,
  group: GroupId = asking.principal.group,
): Promise<T> {
  return await parts.databases.group.forGroup(group, (sql) => work(sql, noteOf(sql, asking, group)));
}

/** For reading alone: the same rows as in `inGroup`, in one round trip for each statement. */
export function readingGroup(parts: Parts, group: GroupId): GroupSql {
  return parts.databases.group.reading(group);
}

/** As `readingGroup`, for a few rows that are found by their keys; many requests share a connection. */
export function findingInGroup(parts: Parts, group: GroupId): GroupSql {
  return parts.databases.group.finding(group);
}

/** As `findingInGroup`, with the rights of `withRights`. */
export function findingWithRights(
  parts: Parts,
  { principal }: Pick<Asking, "principal">,
  group: GroupId = principal.group,
): GroupSql | SystemSql {
  return isOperator(principal) ? parts.databases.admin.system : parts.databases.group.finding(group);
}

/** For reading alone: with the rights of `withRights`, in one round trip for each statement. */
export function readingWithRights(
  parts: Parts,
  { principal }: Pick<Asking, "principal">,
  group: GroupId = principal.group,
): GroupSql | SystemSql {
  return isOperator(principal) ? parts.databases.admin.system : parts.databases.group.reading(group);
}

/** For reading alone: what `asOperator` sees; only for principals for whom `isOperator` holds. */
export function readingEverything(parts: Parts, { principal }: Pick<Asking, "principal">): SystemSql {
  if (!isOperator(principal)) throw new Error("Only the operator's group may see every group");
  return parts.databases.admin.system;
}

/** A transaction with the rights of the operator's group; only for principals for whom `isOperator` holds. */
export async function asOperator<T>(
  parts: Parts,
  asking: Asking,
  work: (sql: SystemSql, note: Note) => Promise<T>,
  group: GroupId = asking.principal.group,
): Promise<T> {
  if (!isOperator(asking.principal)) throw new Error("Only the operator's group may see every group");
  return await parts.databases.admin.transaction((sql) => work(sql, noteOf(sql, asking, group)));
}

/** The one for operators, the other for everybody else: for groups, users and members, which both may change. */
export async function withRights<T>(
  parts: Parts,
  asking: Asking,
  work: (sql: GroupSql | SystemSql, note: Note) => Promise<T>,
  group: GroupId = asking.principal.group,
): Promise<T> {
  if (isOperator(asking.principal)) return await asOperator(parts, asking, work, group);
  return await inGroup(parts, asking, work, group);
}

function noteOf(sql: Sql, { principal, call }: Asking, group: GroupId): Note {
  return (change) =>
    recordActivity(sql, {
      group,
      actor: principal.user,
      actorGroup: principal.home,
      address: call.address,
      correlationId: call.correlationId,
      ...change,
    });
}
