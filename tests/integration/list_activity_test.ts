import assert from "node:assert/strict";
import { type ActivityFilter, listActivity } from "../../lib/activity/activity_listing.ts";
import { purgeActivities } from "../../lib/activity/activity_table.ts";
import { purgeKeys } from "../../lib/api_keys/api_keys_table.ts";
import type { GroupId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import type { GroupSql, Sql, SystemSql } from "../../lib/postgres/sql.ts";
import { testDatabase } from "../support/postgres.ts";
import { makeAccount } from "../support/submissions.ts";

interface Plan {
  readonly "Node Type": string;
  readonly "Index Name"?: string;
  readonly Plans?: readonly Plan[];
}

function* indexesOf(plan: Plan): Generator<string> {
  if (plan["Index Name"] !== undefined) yield plan["Index Name"];
  if (plan["Node Type"] === "Seq Scan") yield "the whole table";
  for (const child of plan.Plans ?? []) yield* indexesOf(child);
}

/** What a statement is planned to read, of which nobody knows yet what it is asked with. */
function planning(sql: Sql, tell: (indexes: readonly string[]) => void): SystemSql {
  return (async (template: TemplateStringsArray, ...values: readonly unknown[]) => {
    const parts = template.map((part, index) =>
      index === 0 ? `explain (generic_plan, format json) ${part}` : part
    );
    const text = Object.assign(parts, { raw: parts }) as TemplateStringsArray;
    const [row] = await sql<{ readonly "QUERY PLAN": readonly { readonly Plan: Plan }[] }>(text, ...values);
    const plan = row?.["QUERY PLAN"][0]?.Plan;
    if (plan !== undefined) tell([...indexesOf(plan)]);
    return [];
  }) as unknown as SystemSql;
}

const someone = "019aa7e4-6f00-7000-8000-00000000000a";

/** Activities of a group, of forty others and of nobody, by three hundred actors, about four hundred things. */
async function fill(url: string, group: GroupId): Promise<void> {
  await using owner = await openSession({ url });
  await owner.run(`begin; set local session_replication_role = replica;
    insert into activity_logs (id, group_id, actor_id, action, resource_type, resource_id)
      select first_uuid_at(now() - make_interval(secs => 13000 - n)),
        case n % 7 when 0 then null when 1 then '${group}' else some_id(n % 41) end, some_id(n % 300 + 1),
        case n % 1200 when 0 then 'thing.lose' else 'thing.change' end,
        case n % 1000 when 1 then 'rare' else 'thing' end, some_id(n % 400 + 1)
      from generate_series(1, 12000) n;
    commit`.replaceAll(
    /some_id\(([^)]*)\)/g,
    "('019aa7e4-6f00-7000-8000-' || lpad(to_hex($1), 12, '0'))::uuid",
  ));
  await owner.run("vacuum analyze activity_logs");
}

/** How many rows this session has been told of by each index of the activities that are not in the statistics yet. */
async function rowsByIndex(sql: Sql): Promise<ReadonlyMap<string, number>> {
  const rows = await sql<{ readonly name: string; readonly count: number }>`
    select c.relname as name, pg_stat_get_xact_tuples_returned(c.oid) as count
    from pg_index i join pg_class c on c.oid = i.indexrelid
    where i.indrelid = 'activity_logs'::regclass`;
  return new Map(rows.map(({ name, count }) => [name, count]));
}

Deno.test("listActivity() reads the few that are asked for by an index of their own, and finds just them", async () => {
  await using database = await testDatabase();
  const { group } = await makeAccount(database.ownerUrl);
  await fill(database.ownerUrl, group);
  const filters: readonly (readonly [ActivityFilter, string, string, number, number])[] = [
    [{}, "activity_logs_group", "activity_logs_pkey", 1715, 12_000],
    [{ actor: someone }, "activity_logs_group_actor", "activity_logs_actor", 6, 40],
    [{ resourceId: someone }, "activity_logs_group_resource", "activity_logs_resource", 4, 30],
    [{ action: "thing.lose" }, "activity_logs_group_action", "activity_logs_action", 1, 10],
    [{ resourceType: "rare" }, "activity_logs_group_type", "activity_logs_type", 2, 12],
    [
      { actor: someone, resourceId: someone, action: "thing.change" },
      "activity_logs_group_resource",
      "activity_logs_resource",
      2,
      10,
    ],
  ];
  for (
    const [role, whose] of [["smtp_proxy_group", group], ["smtp_proxy_admin", undefined]] as const
  ) {
    await using opened = openDatabase({ url: database.urlFor(role), role, poolMax: 1 });
    const inside = (work: (sql: GroupSql | SystemSql) => Promise<void>) =>
      whose === undefined ? opened.transaction(work) : opened.forGroup(whose, work);
    for (const [filter, ofGroup, ofAll, inGroup, everywhere] of filters) {
      await inside(async (sql) => {
        const before = await rowsByIndex(sql as Sql);
        await listActivity(sql, whose, filter, { limit: 50 });
        const own = whose === undefined ? ofAll : ofGroup;
        const told = [...await rowsByIndex(sql as Sql)].map(([name, rows]) => ({
          name,
          rows: rows - (before.get(name) ?? 0),
        }));
        const wanted = Math.min(50, whose === undefined ? everywhere : inGroup);
        for (const { name, rows } of told) {
          if (name === own) assert.ok(rows >= wanted && rows <= 60, `${JSON.stringify(filter)}: ${rows}`);
          // For its estimates the planner looks at the ends of indexes.
          else assert.ok(rows <= 10, `${JSON.stringify(filter)}: ${name} ${rows}`);
        }
        let count = 0;
        for (let offset = 0;; offset += 5000) {
          const found = await listActivity(sql, whose, filter, { limit: 5000, offset });
          count += found.length;
          if (filter.actor !== undefined) assert.ok(found.every(({ actorId }) => actorId === filter.actor));
          if (filter.resourceId !== undefined) {
            assert.ok(found.every(({ resourceId }) => resourceId === filter.resourceId));
          }
          if (filter.action !== undefined) assert.ok(found.every(({ action }) => action === filter.action));
          if (filter.resourceType !== undefined) {
            assert.ok(found.every(({ resourceType }) => resourceType === filter.resourceType));
          }
          if (found.length < 5000) break;
        }
        assert.equal(count, whose === undefined ? everywhere : inGroup, JSON.stringify(filter));
      });
    }
  }
});

Deno.test("purgeActivities() and purgeKeys() find what is old by an index", async () => {
  await using database = await testDatabase();
  const { group } = await makeAccount(database.ownerUrl);
  await fill(database.ownerUrl, group);
  const role = "smtp_proxy_worker";
  await using worker = openDatabase({ url: database.urlFor(role), role });
  const read: string[] = [];
  const sql = planning(worker.system, (indexes) => read.push(...indexes));
  await purgeActivities(sql, Date.now(), 10);
  await purgeKeys(sql, Date.now(), 10);
  assert.deepEqual([...new Set(read)].toSorted(), ["activity_logs_pkey", "api_keys_ended", "api_keys_pkey"]);
});
