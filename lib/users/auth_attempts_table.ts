import type { SystemSql } from "../postgres/sql.ts";

/** One ended attempt to log in, for the counters that throttle guessing. */
export interface AuthAttempt {
  /** The name that was tried, lower case, cut to 255 characters; it need not exist. */
  readonly account: string;
  /** The client's address, IPv6 by /64. */
  readonly address: string;
  readonly succeeded: boolean;
}

/** What is known of an address and of an account name within the window. */
export interface AuthHistory {
  readonly addressFailures: number;
  /** Failures for this account from addresses that have not logged in to it in the last seven days. */
  readonly accountFailures: number;
  /** This address has logged in to this account in the last seven days. */
  readonly isKnown: boolean;
}

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
  for (const attempt of attempts) {
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

/** Looks a batch of (account, address) pairs up; one answer for each, in order. */
export async function readHistories(
  sql: SystemSql,
  pairs: readonly { readonly account: string; readonly address: string }[],
  windowMs: number,
): Promise<readonly AuthHistory[]> {
  const rows = await sql<AuthHistory>`
    select (select coalesce(sum(a.failures), 0)::float8 from auth_attempts a where a.address = p.address
        and a.failed_at > clock_timestamp() - make_interval(secs => ${windowMs} / 1000.0)) as address_failures,
      (select coalesce(sum(a.failures), 0)::float8 from auth_attempts a where a.account = p.account
        and a.failed_at > clock_timestamp() - make_interval(secs => ${windowMs} / 1000.0)
        and (a.succeeded_at is null or a.succeeded_at < clock_timestamp() - interval '7 days')) as account_failures,
      exists (select from auth_attempts a where a.account = p.account and a.address = p.address
        and a.succeeded_at >= clock_timestamp() - interval '7 days') as is_known
    from unnest(${pairs.map((pair) => pair.account)}::text[], ${pairs.map((pair) => pair.address)}::text[])
      with ordinality as p (account, address, n)
    order by p.n`;
  return rows;
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
