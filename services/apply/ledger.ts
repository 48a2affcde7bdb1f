import { recordActivity } from "../../lib/activity/activity_table.ts";
import type { GroupId } from "../../lib/ids.ts";
import type { Sql } from "../../lib/postgres/sql.ts";

/** One change that was made. */
export interface Change {
  readonly action: string;
  readonly resourceType: "group" | "user" | "provider" | "routing_rule";
  readonly resourceId: string;
  /** What it is called, for people. */
  readonly name: string;
  /** Values, or before and after; without secrets. */
  readonly changes: Readonly<Record<string, unknown>>;
  /** The same for people, where that is something else. */
  readonly shown?: Readonly<Record<string, unknown>>;
}

const longest = 120;

/** Tells of the changes of one group: in its activity, within the transaction that makes them, and to whoever runs it. */
export class Ledger {
  readonly #group: GroupId;
  readonly #groupName: string;
  readonly #run: string;
  readonly #lines: string[] = [];

  constructor(group: GroupId, groupName: string, run: string) {
    this.#group = group;
    this.#groupName = groupName;
    this.#run = run;
  }

  /** A line for each change so far. */
  get lines(): readonly string[] {
    return this.#lines;
  }

  /** Tells of one change. */
  async note(sql: Sql, { action, resourceType, resourceId, name, changes, shown }: Change): Promise<void> {
    await recordActivity(sql, {
      group: this.#group,
      actor: undefined,
      actorGroup: undefined,
      action,
      resourceType,
      resourceId,
      changes,
      comment: "apply",
      address: undefined,
      correlationId: this.#run,
    });
    const what = resourceType === "group" ? "" : ` ${wordOf[resourceType]} ${name}:`;
    const verb = verbOf(action);
    const details = verb === "changed" ? detailsOf(shown ?? changes) : "";
    this.#lines.push(`group ${this.#groupName}:${what} ${verb}${details}`);
  }
}

const wordOf = { user: "account", provider: "provider", routing_rule: "routing rule" } as const;

function verbOf(action: string): string {
  if (/create/.test(action)) return "created";
  if (/delete/.test(action)) return "removed";
  if (/allow_credentials/.test(action)) return "may use the operator's credentials";
  return "changed";
}

/** Only of what was changed: `field: before -> after`. */
function detailsOf(changes: Readonly<Record<string, unknown>>): string {
  const parts = Object.entries(changes).flatMap(([field, change]) =>
    isPair(change) ? [`${field}: ${textOf(change[0])} -> ${textOf(change[1])}`] : []
  );
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

function isPair(change: unknown): change is readonly [unknown, unknown] {
  return Array.isArray(change) && change.length === 2;
}

function textOf(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > longest ? `${text.slice(0, longest)}…` : text;
}
