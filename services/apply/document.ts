import { z } from "zod";
import { allowedIps, groupName, monthlyLimit } from "../../lib/groups/group_fields.ts";
import { newId, type ProviderId, type UserId } from "../../lib/ids.ts";
import { providerBody } from "../../lib/providers/provider_body.ts";
import {
  activeOrSuspended,
  email,
  newPassword,
  senderDomains,
  username,
} from "../../lib/users/user_fields.ts";
import { type ProviderWish, readProvider } from "./provider_wish.ts";
import { findSecret, type SecretSources } from "./references.ts";
import { isId, type RuleInFile, ruleInFile, wishOfRule } from "./rule_wish.ts";

const account = z.strictObject({
  email,
  username: username.optional(),
  password: z.string().max(1024).optional(),
  "allowed_domains": senderDomains.optional(),
  status: activeOrSuspended.optional(),
});

const group = z.strictObject({
  name: groupName,
  "monthly_limit": monthlyLimit.optional(),
  "allowed_domains": senderDomains.optional(),
  "allowed_ips": allowedIps.optional(),
  status: activeOrSuspended.optional(),
  accounts: z.array(account).max(1000).optional(),
  providers: z.array(providerBody.extend({ enabled: z.boolean().optional() })).max(100).optional(),
  "routing_rules": z.array(ruleInFile).max(1000).optional(),
});

/** What a file says, before its secrets are looked up. */
const document = z.strictObject({ groups: z.array(group).min(1).max(1000) });
type GroupInFile = z.output<typeof group>;

/** An SMTP account as it is to be; what is not given stays. */
export interface AccountWish {
  readonly email: string;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly allowedDomains: readonly string[] | undefined;
  readonly status: "active" | "suspended" | undefined;
}

/** A group as it is to be; what is not given stays, and so do lists that are not given. */
export interface GroupWish {
  readonly name: string;
  readonly monthlyLimit: number | undefined;
  readonly allowedDomains: readonly string[] | undefined;
  readonly allowedIps: readonly string[] | null | undefined;
  readonly status: "active" | "suspended" | undefined;
  readonly accounts: readonly AccountWish[] | undefined;
  readonly providers: readonly ProviderWish[] | undefined;
  readonly rules: readonly RuleInFile[] | undefined;
}

/** What a file wants, or everything that is wrong with it, as sentences that show no secret. */
export type ReadDocument = { readonly groups: readonly GroupWish[] } | {
  readonly mistakes: readonly string[];
};

/** Reads what a file holds, with the rules of the API, and looks its secrets up. */
export function readDocument(content: unknown, sources: SecretSources): ReadDocument {
  const parsed = document.safeParse(content);
  if (!parsed.success) return { mistakes: parsed.error.issues.map(inWords) };
  const mistakes: string[] = [];
  const { groups } = parsed.data;
  tellDoubles(mistakes, "groups", groups.map(({ name }) => name));
  tellDoubles(
    mistakes,
    "accounts",
    groups.flatMap(({ accounts = [] }) => accounts.map((one) => one.email.toLowerCase())),
  );
  const wishes = groups.map((one, index) => readGroup(one, `groups.${index}`, sources, mistakes));
  if (!isStorable(content)) mistakes.push("a text has a NUL or half of a character");
  return mistakes.length > 0 ? { mistakes } : { groups: wishes };
}

function readGroup(given: GroupInFile, path: string, sources: SecretSources, mistakes: string[]): GroupWish {
  const { accounts, providers, routing_rules: rules } = given;
  const tell = (place: string) => (sentence: string) => void mistakes.push(`${path}.${place}${sentence}`);
  tellDoubles(mistakes, `${path}.providers`, providers?.map(({ name }) => name) ?? []);
  tellDoubles(mistakes, `${path}.routing_rules`, rules?.map(({ priority }) => String(priority)) ?? []);
  rules?.forEach((rule, index) => checkRule(rule, tell(`routing_rules.${index}`)));
  return {
    name: given.name,
    monthlyLimit: given.monthly_limit,
    allowedDomains: given.allowed_domains,
    allowedIps: given.allowed_ips,
    status: given.status,
    accounts: accounts?.map((one, index) => ({
      email: one.email,
      username: one.username,
      password: passwordOf(one.password, sources, tell(`accounts.${index}.password: `)),
      allowedDomains: one.allowed_domains,
      status: one.status,
    })),
    providers: providers?.flatMap((one, index) =>
      readProvider(one, (text) => findSecret(text, sources), tell(`providers.${index}.`)) ?? []
    ),
    rules,
  };
}

function passwordOf(
  reference: string | undefined,
  sources: SecretSources,
  tell: (sentence: string) => void,
): string | undefined {
  if (reference === undefined) return undefined;
  const found = findSecret(reference, sources);
  if ("mistake" in found) {
    tell(found.mistake);
    return undefined;
  }
  const checked = newPassword.safeParse(found.secret);
  if (!checked.success) tell(checked.error.issues[0]?.message ?? "it is no password");
  return found.secret;
}

/** With ids that stand for those of the names in it. */
function checkRule(rule: RuleInFile, tell: (sentence: string) => void): void {
  const ids = new Map<string, ProviderId>();
  const idOf = (name: string) => {
    const id = ids.get(name) ?? newId<ProviderId>();
    ids.set(name, id);
    return id;
  };
  const made = wishOfRule(rule, {
    id: "",
    enabled: true,
    providerOf: idOf,
    accountOf: (text) => isId(text) || text.includes("@") ? newId<UserId>() : undefined,
  });
  if ("mistakes" in made) { for (const sentence of made.mistakes) tell(`.${sentence}`); }
}

function tellDoubles(mistakes: string[], path: string, names: readonly string[]): void {
  for (const [name, same] of Map.groupBy(names, (one) => one)) {
    if (same.length > 1) mistakes.push(`${path}: "${name}" is there ${same.length} times`);
  }
}

function inWords({ path, message }: z.core.$ZodIssue): string {
  return path.length === 0 ? message : `${path.map(String).join(".")}: ${message}`;
}

function isStorable(value: unknown): boolean {
  if (typeof value === "string") return value.isWellFormed() && !value.includes("\0");
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([key, inner]) => isStorable(key) && isStorable(inner));
}
