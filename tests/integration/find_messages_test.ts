import assert from "node:assert/strict";
import type { GroupId } from "../../lib/ids.ts";
import { findMessageIds, listMessages, type MessageFilter } from "../../lib/messages/listing_table.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import type { GroupSql } from "../../lib/postgres/sql.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount, type TestAccount } from "../support/submissions.ts";
import { twoGroups } from "../support/two_groups.ts";

const provider = "00000000-0000-4000-8000-000000000001";

/** Of what fills the tables; what is asked of them has its usual time. */
const statementTimeoutMs = 600_000;

/** Messages `from` to `to` of weeks before now: every kind of status, fifty senders, all with a subject of their own. */
async function fill(url: string, { group, user }: TestAccount, from: number, to: number): Promise<void> {
  await using session = await openSession({ url, statementTimeoutMs });
  await session.run(`begin; set local session_replication_role = replica;
    create temp table made on commit drop as
      select n, (lpad(to_hex((extract(epoch from now() - interval '20 days' * (1 - n / 40000.0)) * 1000)::bigint), 12, '0')
        || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid as id
      from generate_series(${from}, ${to}) n;
    insert into messages (id, group_id, user_id, sender, subject, rfc_message_id, recipient_count, size, content_hash,
      storage_ref, status, failure_code, claimed_until, provider_id, next_attempt_at, correlation_id, enqueued_at)
    select id, '${group}', '${user}', 's' || n % 50 || '@example.com', 'Subject ' || n, '<' || n || '@example.com>', 1, 4,
      sha256(n::text::bytea), 'local:x.seg#0+4', k.status, case when k.status = 'failed' then 'exhausted' end,
      case when k.status = 'processing' then now() end,
      case when n % 9 = 0 then '${provider}'::uuid end, now(), 'c', now()
    from made cross join lateral (select case when n in (7, 8, 9) then 'processing' else case n % 40 when 0 then 'queued'
      when 1 then 'failed' when 2 then 'storage_error' when 3 then 'cancelled' when 4 then 'enqueue_failed'
      else 'delivered' end end as status) k;
    insert into recipients (message_id, position, group_id, address)
      select id, 1, '${group}', 'R' || n % 50 || '@example.net' from made;
    commit`);
  await session.run("vacuum analyze");
}

const filters: Readonly<Record<string, MessageFilter>> = {
  none: {},
  delivered: { status: "delivered" },
  queued: { status: "queued" },
  processing: { status: "processing" },
  failed: { status: "failed" },
  storageError: { status: "storage_error" },
  cancelled: { status: "cancelled" },
  enqueueFailed: { status: "enqueue_failed" },
  dead: { status: "dead" },
  sender: { sender: "S3@example.com" },
  recipient: { recipient: "r3@example.net" },
  subject: { subject: "subject 4321" },
  rfcMessageId: { rfcMessageId: "4321@example.com" },
  provider: { provider },
  span: { since: new Date(Date.now() - 18.5 * 86_400_000), until: new Date(Date.now() - 18 * 86_400_000) },
};

interface Plan {
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
}

/** Pages that finding a page of ids touches, and how often a table of mail was read from its beginning for it. */
async function cost(database: Database, group: GroupId, filter: MessageFilter, after?: string) {
  const page = { limit: 50, ...(after !== undefined && { after }) };
  return await database.forGroup(group, async (sql) => {
    const { ids } = await findMessageIds(sql, filter, page);
    let pages = 0;
    // The same statement explained: `sql` is a function of templates, so it can be given another that begins so.
    const explaining = (async (text: TemplateStringsArray, ...values: readonly unknown[]) => {
      const explained = explainedOf(text);
      const [row] = await sql<{ readonly "QUERY PLAN": readonly { readonly Plan: Plan }[] }>(
        explained,
        ...values,
      );
      const plan = row?.["QUERY PLAN"][0]?.Plan;
      pages = (plan?.["Shared Hit Blocks"] ?? NaN) + (plan?.["Shared Read Blocks"] ?? NaN);
      return [];
    }) as unknown as GroupSql;
    await findMessageIds(explaining, filter, page);
    const [scans] = await sql<{ count: number }>`
      select coalesce(sum(seq_scan), 0)::int as count from pg_stat_xact_all_tables
      where relname ~ '^(messages|recipients|message_search)(_|$)'`;
    return { pages, found: ids.length, scans: scans?.count };
  });
}

const explainedTexts = new WeakMap<TemplateStringsArray, TemplateStringsArray>();

function explainedOf(text: TemplateStringsArray): TemplateStringsArray {
  const known = explainedTexts.get(text);
  if (known !== undefined) return known;
  const parts = text.map((part, index) =>
    index === 0 ? `explain (analyze, buffers, format json) ${part}` : part
  );
  const explained = Object.assign(parts, { raw: parts }) as TemplateStringsArray;
  explainedTexts.set(text, explained);
  return explained;
}

Deno.test("findMessageIds() reads no table from its beginning, and as little of a large one as of a small one", async () => {
  await using test = await testDatabase();
  const account = await makeAccount(test.ownerUrl);
  const role = "smtp_proxy_group";
  await fill(test.ownerUrl, account, 1, 6_000);
  const small: Record<string, number> = {};
  {
    await using database = openDatabase({ url: test.urlFor(role), role, poolMax: 1 });
    for (const [name, filter] of Object.entries(filters)) {
      await cost(database, account.group, filter);
      const { pages, found, scans } = await cost(database, account.group, filter);
      assert.equal(scans, 0, `${name} reads a table from its beginning`);
      assert.ok(found > 0, `${name} finds nothing`);
      small[name] = pages;
    }
  }
  await fill(test.ownerUrl, account, 6_001, 24_000);
  await using database = openDatabase({ url: test.urlFor(role), role, poolMax: 1 });
  for (const [name, filter] of Object.entries(filters)) {
    await cost(database, account.group, filter);
    const { pages, scans } = await cost(database, account.group, filter);
    assert.equal(scans, 0, `${name} reads a table from its beginning`);
    const before = small[name] ?? NaN;
    assert.ok(
      pages <= before * 1.5 + 40,
      `${name} touches ${pages} pages of a table four times as large, ${before} before`,
    );
  }
  const last = await database.forGroup(account.group, async (sql) => {
    const [row] = await sql<{ id: string }>`
      select id from messages where group_id = ${account.group} order by id offset 60 limit 1`;
    return row?.id;
  });
  await cost(database, account.group, {}, last);
  const [first, end] = [
    await cost(database, account.group, {}),
    await cost(database, account.group, {}, last),
  ];
  assert.ok(
    end.pages <= first.pages * 1.5 + 40,
    `the last page touches ${end.pages} pages, the first ${first.pages}`,
  );
});

Deno.test("findMessageIds() reads nothing of a large group for a small one, also where there are but two", async () => {
  await using test = await testDatabase();
  const [large, small] = [await makeAccount(test.ownerUrl), await makeAccount(test.ownerUrl)];
  await fill(test.ownerUrl, large, 1, 20_000);
  {
    await using session = await openSession({ url: test.ownerUrl, statementTimeoutMs });
    // Every 41st, so that each status is among them.
    await session.run(`begin; set local session_replication_role = replica;
      create temp table given on commit drop as
        select id from (select id, row_number() over (order by id) as n from messages) m where n % 41 = 0;
      update recipients set group_id = '${small.group}' where message_id in (select id from given);
      update messages set group_id = '${small.group}' where id in (select id from given);
      commit`);
    await session.run("vacuum analyze");
  }
  const role = "smtp_proxy_group";
  await using database = openDatabase({ url: test.urlFor(role), role, poolMax: 1 });
  for (
    const name of ["none", "delivered", "queued", "failed", "cancelled", "dead", "recipient", "provider"]
  ) {
    const filter = filters[name] ?? {};
    await cost(database, small.group, filter);
    const { pages, found } = await cost(database, small.group, filter);
    assert.ok(found > 0, `${name} finds nothing`);
    // What is found, and a way down the index of each week.
    assert.ok(pages <= found + 60, `${name} touches ${pages} pages for ${found} messages`);
  }
});

Deno.test("find_messages() raises without a group, and serves no role but the group's", async () => {
  await using test = await testDatabase();
  const call = `select * from find_messages('ffffffff-ffff-ffff-ffff-ffffffffffff',
    '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff', 50, null, null, null, null, null, null,
    null)`;
  const refused = (state: string) => (error: { code?: string; message?: string }) => {
    assert.equal(error.code, state, String(error.message));
    return true;
  };
  await using session = await openSession({
    url: test.urlFor("smtp_proxy_group"),
    role: "smtp_proxy_group",
  });
  await assert.rejects(session.run(call), refused("42501"));
  await assert.rejects(session.run("select * from message_search"), refused("42501"));
  for (
    const role of ["smtp_proxy_admin", "smtp_proxy_intake", "smtp_proxy_worker", "smtp_proxy_login"] as const
  ) {
    await using other = await openSession({ url: test.urlFor(role), role });
    await assert.rejects(other.run(call), refused("42501"), role);
  }
});

Deno.test("listMessages() shows a group its own messages alone, whatever is asked for", async () => {
  await using test = await testDatabase();
  const [alpha, beta] = await twoGroups(test.ownerUrl);
  const role = "smtp_proxy_group";
  await using database = openDatabase({ url: test.urlFor(role), role });
  for (const [own, name] of [[alpha, "alpha"], [beta, "beta"]] as const) {
    const group = own.group as GroupId;
    const list = (filter: MessageFilter) =>
      database.forGroup(group, async (sql) => {
        const { messages } = await listMessages(sql, group, filter, { limit: 10 });
        return messages.map(({ id }) => id);
      });
    assert.deepEqual(await list({}), [own.message]);
    for (const whose of ["alpha", "beta"]) {
      const expected = whose === name ? [own.message] : [];
      assert.deepEqual(await list({ sender: `a@${whose}.example` }), expected);
      assert.deepEqual(await list({ recipient: `b@${whose}.example` }), expected);
    }
  }
});
