import { coalesce } from "../../lib/coalesce.ts";
import type { UserId } from "../../lib/ids.ts";
import { parseCidr } from "../../lib/network/cidr.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { Refusal } from "../../lib/refusal.ts";
import { readSmtpPolicies, type SmtpPolicy } from "../../lib/users/smtp_accounts_table.ts";
import type { AccountPolicy } from "./intake.ts";
import { quotaReached } from "./record_message.ts";

/** What reading policies needs to know. */
export interface PolicyOptions {
  readonly database: Database;
  /** For accounts that do not say what becomes of bare CR and LF. */
  readonly lineEndings: "refuse" | "repair";
  readonly now: () => Date;
  /** How long an answer serves others who ask; 5 ms when not given: as if they had asked in one batch. */
  readonly freshMs?: number;
  /** Milliseconds of a clock that never goes back, by which `freshMs` is counted. */
  readonly clock?: () => number;
  readonly onBatch?: (size: number) => void;
}

/**
 * Reads what an account may send now, many accounts in one query; undefined when it is gone. Throws
 * Refusal("database_down").
 */
export function readPolicies(options: PolicyOptions): (user: UserId) => Promise<AccountPolicy | undefined> {
  const read = coalesce<UserId, SmtpPolicy | undefined>(async (users) => {
    const policies = await readSmtpPolicies(options.database.system, [...new Set(users)]);
    return users.map((user) => ({ ok: true, value: policies.get(user) }));
  }, { parallel: 2, isOutage: () => true, ...(options.onBatch && { onBatch: options.onBatch }) });
  const { freshMs = 5, clock = () => performance.now() } = options;
  const recent = new Map<
    UserId,
    { readonly askedAt: number; readonly policy: Promise<AccountPolicy | undefined> }
  >();
  return (user) => {
    const askedAt = clock();
    const known = recent.get(user);
    if (known !== undefined && askedAt - known.askedAt < freshMs) return known.policy;
    const policy = read(user).then(
      (found) => found && accountPolicy(found, options),
      (cause: unknown) => {
        throw new Refusal("database_down", "The account cannot be looked up, please try again later", {
          cause,
        });
      },
    );
    if (recent.size >= maxRecent) recent.clear();
    recent.set(user, { askedAt, policy });
    return policy;
  };
}
/** Answers kept at a time; what is older than `freshMs` only takes room. */
const maxRecent = 1_000;

function accountPolicy(policy: SmtpPolicy, { lineEndings, now }: PolicyOptions): AccountPolicy {
  return {
    revision: policy.revision,
    isSuspended: !policy.isActive,
    allowedDomains: domainsOf(policy.allowedDomains),
    groupDomains: domainsOf(policy.groupDomains),
    lineEndings: policy.bareLineEndings ?? lineEndings,
    allowedNetworks: (policy.allowedIps ?? []).flatMap((text) => parseCidr(text) ?? []),
    ...(policy.reachedLimit && { quotaReached: quotaReached(policy.reachedLimit, now()) }),
  };
}

/** A list with anything in it but texts is corrupt, and a corrupt list allows nobody. */
function domainsOf(stored: unknown): readonly string[] | undefined {
  return Array.isArray(stored) && stored.every((entry) => typeof entry === "string") ? stored : undefined;
}
