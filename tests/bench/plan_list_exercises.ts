import { storeEvents } from "../../lib/events/webhooks_table.ts";
import {
  type MessageId,
  newId,
  type ProviderId,
  type RefusedSubmissionId,
  type UserId,
} from "../../lib/ids.ts";
import { listMessages } from "../../lib/messages/listing_table.ts";
import { listWeeks } from "../../lib/messages/retention_table.ts";
import { countMessages } from "../../lib/messages/statistics_table.ts";
import type { Database, Session } from "../../lib/postgres/database.ts";
import {
  insertRefused,
  listNobodysRefused,
  listRefused,
  purgeRefused,
  trimRefused,
} from "../../lib/refused_submissions/refused_submissions_table.ts";
import {
  addSuppression,
  addSuppressions,
  findSuppressed,
  listSuppressions,
  removeSuppression,
} from "../../lib/suppressions/suppressions_table.ts";
import { countWeek, recountWeek } from "../../lib/usage/usage_days_table.ts";
import { countInvitations, listInvitations } from "../../lib/users/one_time_tokens_table.ts";
import type { TestAccount } from "../support/submissions.ts";

/** By which the calls went that `fillLists` finds. */
export const planProvider = "019aa7e4-6f00-7000-8000-000000000001" as ProviderId;

/** Fills what is kept beside messages, of the account's group and of a thousand others, for a million messages. */
export async function fillLists(session: Session, { group }: TestAccount, million: number): Promise<void> {
  const some = 5 * Math.ceil(million / 50);
  const others = "('0199' || lpad(to_hex(n % 1000), 4, '0') || '-0000-7000-8000-000000000000')::uuid";
  await session.run(`begin; set local session_replication_role = replica;
    insert into esp_providers (id, group_id, name, provider_type)
      values ('${planProvider}', '${group}', 'simulator', 'simulator');
    update groups set has_suppressions = true, suppress_reported = true where id = '${group}';
    insert into suppressions (group_id, address, reason)
      select case when n % 10 = 0 then '${group}' else ${others} end, 's' || n || '@example.net',
        case when n % 50 = 0 then 'manual' else 'bounce' end
      from generate_series(1, ${some}) n;
    insert into refused_submissions (id, group_id, account, address, command, code, reason, reply, correlation_id, times,
        first_at, last_at)
      select first_uuid_at(t), case when n % 10 < 5 then '${group}' when n % 10 < 8 then ${others} end, 'account' || n % 50,
        '192.0.2.1', 'AUTH PLAIN', 535, 'credentials_wrong', 'No', 'c', 1, t, t
      from generate_series(1, ${
    some / 5
  }) n, lateral (select now() - make_interval(secs => ${some} - n + 10) as t) at;
    insert into usage_weeks (week, starts, ends, counted_at)
      select '2020w' || lpad(n::text, 2, '0'), first_uuid_at(t), first_uuid_at(t + interval '7 days'), now()
      from generate_series(1, 20) n, lateral (select timestamptz '2020-01-06Z' + interval '7 days' * (n - 1) as t) at;
    insert into usage_daily
      select '2020w' || lpad((n / 7 + 1)::text, 2, '0'), g.id, date '2020-01-06' + n, null, 1, 1, 4, 1, 0, 0, 0, 1, 0, 0, 0,
        0, 0, 0, 0, 0, 0
      from generate_series(0, 139) n, lateral (select '${group}'::uuid as id
        union all select ('0199' || lpad(to_hex(m), 4, '0') || '-0000-7000-8000-000000000000')::uuid
        from generate_series(1, 300) m) g;
    commit`);
}

/** What smtp-server writes down of refusals. */
export async function refuseMail({ system }: Database, { group }: TestAccount): Promise<void> {
  const at = new Date();
  const one = {
    address: "192.0.2.1",
    command: "AUTH PLAIN",
    code: 535,
    reason: "credentials_wrong",
    reply: "No",
    correlationId: "c",
    times: 1,
    firstAt: at,
    lastAt: at,
  };
  const whose = [{ group }, { account: "somebody" }, {}];
  await insertRefused(system, whose.map((who) => ({ id: newId<RefusedSubmissionId>(), ...one, ...who })));
}

/** What queue-worker asks of suppressions, and what it removes and counts. */
export async function keepLists({ system }: Database, { group }: TestAccount): Promise<void> {
  const items = Array.from({ length: 500 }, (_, n) => ({ group, addresses: [`S${n}@example.net`] }));
  await findSuppressed(system, items);
  await trimRefused(system, 2000, 500);
  await purgeRefused(system, Date.now() - 90 * 86_400_000, 500);
  const [week] = await listWeeks(system, newId<MessageId>());
  if (week === undefined) throw new Error("Cannot count a week: there is none");
  for (let n = 0; n < 2; n++) await countWeek(system, week.name, 2000);
  await recountWeek(system, week.name);
}

/** What api-server stores of services' reports: each puts an address on the list. */
export async function storeReports({ system }: Database): Promise<void> {
  const run = newId<never>() as string;
  await storeEvents(
    system,
    planProvider,
    [2, 3, 4, 5].map((n) => ({
      kind: "complained",
      externalId: `${run} ${n}`,
      occurredAt: new Date(),
      recipient: `R${n}@example.net`,
      providerMessageId: `p${n}`,
      data: {},
    })),
  );
}

/** What api-server lists and counts for a group. */
export async function listForGroup(database: Database, { group, user }: TestAccount): Promise<void> {
  await database.system`select set_config('app.current_group_id', ${group}, false)`;
  await database.forGroup(group, async (sql) => {
    const page = { limit: 50 };
    const { next } = await listMessages(sql, group, {}, page);
    await listMessages(sql, group, { status: "dead" }, { ...page, ...next !== undefined && { after: next } });
    await listRefused(sql, group, {}, page);
    await listRefused(sql, group, { account: "account10" }, page);
    await listSuppressions(sql, group, {}, page);
    await listSuppressions(sql, group, { reason: "manual" }, page);
    const [entry] = await listSuppressions(sql, group, { address: "S50@example.net" }, page);
    if (entry !== undefined) await removeSuppression(sql, group, entry.id);
    const wish = { reason: "manual", note: undefined, createdBy: user as UserId } as const;
    // As many as there may be are counted with each.
    await addSuppression(sql, group, { address: "s50@example.net", ...wish });
    await addSuppressions(sql, group, { addresses: ["s50@example.net", "s60@example.net"], ...wish });
    const [now, day] = [Date.now(), 86_400_000];
    const counting = { most: 2000, withRecipients: true };
    await countMessages(sql, group, new Date(now - day), new Date(now), counting);
    await countMessages(
      sql,
      group,
      new Date("2020-02-01T00:00:00Z"),
      new Date("2020-03-01T00:00:00Z"),
      counting,
    );
    await countInvitations(sql, group);
    await listInvitations(sql, group, page);
  });
}

/** What api-server lists for the operator alone. */
export async function listForOperator({ system }: Database): Promise<void> {
  await listNobodysRefused(system, {}, { limit: 50 });
}
