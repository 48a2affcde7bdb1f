import { withoutKeys } from "../../lib/api_keys/api_key.ts";
import { useApiKeys } from "../../lib/api_keys/api_keys_table.ts";
import { coalesce } from "../../lib/coalesce.ts";
import { parseCidr } from "../../lib/network/cidr.ts";
import type { Database } from "../../lib/postgres/database.ts";
import { isOutage } from "../../lib/postgres/faults.ts";
import { isKnownAddress, listFailures, recordAttempts } from "../../lib/users/auth_attempts_table.ts";
import { verifyPassword } from "../../lib/users/password.ts";
import { renewedHash } from "../../lib/users/password_verifier.ts";
import {
  findSmtpAccounts,
  findSmtpAccountsByKey,
  renewSmtpPassword,
  type SmtpAccount,
} from "../../lib/users/smtp_accounts_table.ts";
import type { Account, AccountSource } from "./credentials.ts";
import {
  type AttemptLog,
  type LoginAttempt,
  Throttle,
  throttleDefaults,
  type ThrottleOptions,
} from "./throttle.ts";

/**
 * Looks accounts up in PostgreSQL, those of one moment in one query, and writes down that their keys were used; who is
 * remembered is not looked up again, so the last use may be an hour old. `onFault` is told when it cannot be written.
 */
export function accountsOf(
  database: Database,
  onFault: (error: unknown) => void,
): Omit<AccountSource, "policyOf"> {
  const byName = coalesce<string, SmtpAccount | undefined>(async (names) => {
    const found = await findSmtpAccounts(database.system, [...new Set(names)]);
    const accounts = new Map(found.map((account) => [account.username.toLowerCase(), account]));
    return names.map((name) => ({ ok: true, value: accounts.get(name.toLowerCase()) }));
  }, { isOutage });
  const byKey = coalesce<Uint8Array, SmtpAccount | undefined>(async (hashes) => {
    const found = await findSmtpAccountsByKey(database.system, hashes);
    const used = found.filter(({ isUsable }) => isUsable).map(({ keyId }) => keyId);
    if (used.length > 0) await useApiKeys(database.system, used).catch(onFault);
    const accounts = new Map(found.map((account) => [account.keyHash.toHex(), account]));
    return hashes.map((hash) => ({ ok: true, value: accounts.get(hash.toHex()) }));
  }, { isOutage });
  // A name that no text column can hold is nobody's.
  const findByUsername = async (name: string) =>
    name.includes("\0") ? undefined : accountOf(await byName(name));
  return {
    findByUsername,
    async renew(account, password) {
      const { user, username, passwordHash = "" } = account;
      const hash = await renewedHash(password, passwordHash);
      if (hash === undefined) return account;
      await renewSmtpPassword(database.system, user, passwordHash, hash);
      const renewed = await findByUsername(username);
      if (renewed?.passwordHash === undefined || renewed.passwordHash === hash) return renewed;
      // Renewed elsewhere at the same time, or changed: then the password was right only for what is over.
      return await verifyPassword(password, renewed.passwordHash) ? renewed : undefined;
    },
    findByApiKey: async (hash) => accountOf(await byKey(hash)),
  };
}

function accountOf(found: SmtpAccount | undefined): Account | undefined {
  return found && {
    user: found.user,
    group: found.group,
    username: found.username,
    passwordHash: found.passwordHash ?? undefined,
    revision: found.revision,
    isActive: found.isUsable,
    allowedNetworks: (found.allowedIps ?? []).flatMap((text) => parseCidr(text) ?? []),
    ...(found.expiresAtMs !== null && { expiresAtMs: found.expiresAtMs }),
  };
}

const windowMs = 15 * 60_000;
const maxWaiting = 5_000;

/** Keeps attempts to log in in PostgreSQL, in batches; what cannot be kept is told and dropped, for it only throttles. */
function attemptsOf(database: Database, onFault: (error: unknown) => void): AttemptLog {
  const write = coalesce<LoginAttempt, void>(async (attempts) => {
    await recordAttempts(
      database.system,
      attempts.map((attempt) => ({
        account: storable(attempt.username),
        address: attempt.address,
        succeeded: attempt.hasSucceeded,
      })),
      windowMs,
    );
    return attempts.map(() => ({ ok: true, value: undefined }));
  }, { maxWaiting, isOutage });
  return {
    record: (attempt) => void write(attempt).catch(onFault),
    hasSucceeded: (username, address) => isKnownAddress(database.system, storable(username), address),
  };
}

const maxRecalled = 10_000;

/** A throttle that knows the failures of the last minutes, whichever process saw them; `onFault` is told when not. */
export async function openThrottle(
  database: Database,
  onFault: (error: unknown) => void,
  options: ThrottleOptions = throttleDefaults,
): Promise<Throttle> {
  const throttle = new Throttle(attemptsOf(database, onFault), options);
  const nowMs = Date.now();
  try {
    const past = await listFailures(database.system, windowMs, maxRecalled);
    throttle.recall(past.map((one) => ({ ...one, username: one.account, atMs: nowMs - one.ageMs })));
  } catch (error) {
    onFault(error);
  }
  return throttle;
}

/** As the table keeps names: lower case, without NUL, bounded, and without the secret of a key given for one. */
function storable(username: string): string {
  return withoutKeys(username).toLowerCase().replaceAll("\0", "").slice(0, 255);
}
