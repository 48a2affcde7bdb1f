import { changesBetween } from "../../lib/activity/changes.ts";
import { newId, type ProviderId, type UserId } from "../../lib/ids.ts";
import type { GroupSql } from "../../lib/postgres/sql.ts";
import { areSameSettings } from "../../lib/providers/provider_body.ts";
import { Refusal } from "../../lib/refusal.ts";
import {
  deleteRule,
  insertRule,
  listRuleEntries,
  type RuleEntry,
  type RuleWish,
  updateRule,
} from "../../lib/routing/rule_entries_table.ts";
import { mostRules } from "../../lib/routing/rules_table.ts";
import type { Job } from "./job.ts";
import type { ProvidersByName } from "./apply_providers.ts";
import { type RuleInFile, wishOfRule } from "./rule_wish.ts";

/**
 * Makes the group's rules what they are to be. A rule is known by its priority; where the group has several of one,
 * the one that is as wished, or else the oldest. What the list does not name is removed where that is asked for.
 */
export async function applyRules(
  job: Job,
  sql: GroupSql,
  rules: readonly RuleInFile[] | undefined,
  providers: ProvidersByName,
  accountOf: (emailOrId: string) => UserId | undefined,
): Promise<void> {
  if (rules === undefined) return;
  const entries = await listRuleEntries(sql, job.group.id, { limit: mostRules });
  const named = new Set<string>();
  for (const rule of rules) {
    const candidates = entries.filter(({ priority }) => priority === rule.priority);
    const wishFor = (before: RuleEntry | undefined) => wishOf(rule, before, providers, accountOf);
    const before = candidates.find((one) => areSame(one, wishFor(one))) ?? candidates[0];
    const wish = wishFor(before);
    named.add(wish.id);
    if (before === undefined) await create(job, sql, wish);
    else if (!areSame(before, wish)) await update(job, sql, before, wish, namesOf(providers));
  }
  if (!job.world.mayPrune) return;
  for (const entry of entries) if (!named.has(entry.id)) await remove(job, sql, entry);
}

function wishOf(
  rule: RuleInFile,
  before: RuleEntry | undefined,
  providers: ProvidersByName,
  accountOf: (emailOrId: string) => UserId | undefined,
): RuleWish {
  const wish = wishOfRule(rule, {
    id: before?.id ?? newId<never>() as string,
    enabled: before?.enabled ?? true,
    providerOf: (name) => providers.get(name)?.id,
    accountOf,
  });
  if (!("mistakes" in wish)) return wish;
  throw new Refusal("not_found", `routing rule ${rule.priority}: ${wish.mistakes.join("; ")}`);
}

function areSame(entry: RuleEntry, wish: RuleWish): boolean {
  return areSameSettings(factsOf(entry), factsOf(wish));
}

function factsOf({ priority, conditions, enabled, providers }: RuleWish): Readonly<Record<string, unknown>> {
  return {
    priority,
    conditions,
    enabled,
    providers: providers.map(({ id, weight }) => ({ "provider_id": id, weight })),
  };
}

async function create({ group, ledger }: Job, sql: GroupSql, wish: RuleWish): Promise<void> {
  await insertRule(sql, group.id, wish);
  await ledger.note(sql, changeOf("create", wish, factsOf(wish)));
}

async function update(
  { group, ledger }: Job,
  sql: GroupSql,
  before: RuleEntry,
  wish: RuleWish,
  nameOf: (id: ProviderId) => string,
): Promise<void> {
  await updateRule(sql, group.id, wish);
  const shownOf = (rule: RuleWish) => ({
    ...factsOf(rule),
    providers: rule.providers.map(({ id, weight }) =>
      weight === null ? nameOf(id) : { name: nameOf(id), weight }
    ),
  });
  await ledger.note(sql, {
    ...changeOf("update", wish, changesBetween(factsOf(before), factsOf(wish))),
    shown: changesBetween(shownOf(before), shownOf(wish)),
  });
}

function namesOf(providers: ProvidersByName): (id: ProviderId) => string {
  const names = new Map([...providers].map(([name, { id }]) => [id, name]));
  return (id) => names.get(id) ?? id;
}

async function remove({ group, ledger }: Job, sql: GroupSql, entry: RuleEntry): Promise<void> {
  await deleteRule(sql, group.id, entry.id);
  await ledger.note(sql, changeOf("delete", entry, factsOf(entry)));
}

function changeOf(verb: string, { id, priority }: RuleWish, changes: Readonly<Record<string, unknown>>) {
  return {
    action: `routing_rule.${verb}`,
    resourceType: "routing_rule",
    resourceId: id,
    name: String(priority),
    changes,
  } as const;
}
