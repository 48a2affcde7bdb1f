import type { SystemSql } from "../postgres/sql.ts";
import { storable } from "../storable.ts";

/** One ended attempt to log in, for the counters that throttle guessing. */
export interface AuthAttempt {
  /** The name that was tried, lower case; the first 255 characters count, and it need not exist. */
  readonly account: string;
  /** The client's address, IPv6 by /64. */
  readonly address: string;
  readonly succeeded: boolean;
}

/** Failures of an address with an account name, in a row without a pause as long as the window. */
export interface AuthFailures {
  readonly account: string;
  readonly address: string;
  readonly failures: number;
  /** Time since the last of them, by the database's clock. */
  readonly ageMs: number;
}

const longestAccount = 255;

/** Adds a batch of attempts, one statement for all (ruling 3.23). Failures older than the window start over. */
export async function recordAttempts(
  sql: SystemSql,
  attempts: readonly AuthAttempt[],
  windowMs: number,
): Promise<void> {
  const tallies = new Map<
    string,
    { account: string; address: string; failures: number; succeeded: boolean }
  >();
  for (const given of attempts) {
    const attempt = { ...given, account: storable(given.account, longestAccount) };
    const key = JSON.stringify([attempt.account, attempt.address]);
    const tally = tallies.get(key) ?? { ...attempt, failures: 0, succeeded: false };
    if (attempt.succeeded) tally.succeeded = true;
    else tally.failures++;
    tallies.set(key, tally);
  }
  const rows = JSON.stringify([...tallies.values()]);
  await sql`
    insert into auth_attempts as a (account, address, failures, failed_at, succeeded_at)
    select account, address, case when succeeded then 0 else failures end,
      case when failures > 0 then clock_timestamp() end, case when succeeded then clock_timestamp() end
    from jsonb_to_recordset(${rows}::jsonb) as t (account text, address text, failures int, succeeded boolean)
    order by account, address
    on conflict (account, address) do update set
      failures = case when excluded.succeeded_at is not null then 0
        when a.failed_at < clock_timestamp() - make_interval(secs => ${windowMs} / 1000.0) then excluded.failures
        else least(a.failures + excluded.failures, 1000000) end,
      failed_at = coalesce(excluded.failed_at, a.failed_at),
      succeeded_at = coalesce(excluded.succeeded_at, a.succeeded_at)`;
}

/** Whether this address has logged in to this account in the last seven days. */
export async function isKnownAddress(sql: SystemSql, account: string, address: string): Promise<boolean> {
  const kept = storable(account, longestAccount);
  const [row] = await sql<{ known: boolean }>`
    select exists (select from auth_attempts where account = ${kept} and address = ${address}
      and succeeded_at >= clock_timestamp() - interval '7 days') as known`;
  return row?.known ?? false;
}

/** The latest failures within the window, oldest first; those beyond the limit are left out, oldest first too. */
export async function listFailures(
  sql: SystemSql,
  windowMs: number,
  limit: number,
): Promise<readonly AuthFailures[]> {
  const rows = await sql<AuthFailures>`
    select account, address, failures, (1000 * extract(epoch from clock_timestamp() - failed_at))::float8 as age_ms
    from auth_attempts
    where failures > 0 and failed_at > clock_timestamp() - make_interval(secs => ${windowMs} / 1000.0)
      -- Said of both as well, so that the index by age is gone along.
      and greatest(failed_at, succeeded_at) > clock_timestamp() - make_interval(secs => ${windowMs} / 1000.0)
    order by greatest(failed_at, succeeded_at) desc limit ${limit}`;
  return rows.toSorted((a, b) => b.ageMs - a.ageMs);
}

/** Removes a page of attempts that no throttle looks at any more; answers how many went. */
export async function purgeAttempts(sql: SystemSql, limit: number): Promise<number> {
  const rows = await sql`
    delete from auth_attempts where (account, address) in (
      select account, address from auth_attempts
      where greatest(failed_at, succeeded_at) < clock_timestamp() - interval '7 days' limit ${limit})
    returning account`;
  return rows.length;
}
