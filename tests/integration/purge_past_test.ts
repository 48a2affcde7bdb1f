import assert from "node:assert/strict";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { purgePast } from "../../services/queue-worker/purge_past.ts";
import { Retention } from "../../services/queue-worker/retention.ts";
import { memoryLog } from "../support/memory_log.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { makeAccount, type TestAccount } from "../support/submissions.ts";

const day = 86_400_000;
const role = "smtp_proxy_worker";

/** Activities, keys and names of workers of so many days ago, one of each for each day. */
async function fill({ ownerUrl }: TestDatabase, { group, user }: TestAccount, days: readonly number[]) {
  await using owner = await openSession({ url: ownerUrl });
  await owner.query(
    `with days as (select d, now() - make_interval(days => d, secs => 60) as t from unnest($3::int[]) d),
      told as (insert into activity_logs (id, group_id, action, resource_type, created_at)
        select first_uuid_at(t), case when d % 2 = 0 then $1::uuid end, 'day ' || d, 'group', t from days),
      keys as (insert into api_keys (group_id, user_id, name, prefix, key_hash, revoked_at, expires_at)
        select $1, $2, kind || ' ' || d, 'sp_x', sha256((kind || d)::bytea),
          case when kind = 'revoked' then t end, case when kind = 'ended' then t else now() + interval '9 days' end
        from days, unnest(array['revoked', 'ended', 'in force']) kind)
    insert into workers (name, incarnation, seen_at) select 'worker ' || d, uuidv7(), t from days`,
    [group, user, [...days]],
  );
}

async function left({ ownerUrl }: TestDatabase): Promise<readonly (readonly string[])[]> {
  await using owner = await openSession({ url: ownerUrl });
  const statements = [
    "select action as name from activity_logs order by id desc",
    "select name from api_keys where name like '% %' and name not like 'in force%' order by least(revoked_at, expires_at) desc, 1",
    "select name from workers order by seen_at desc",
    "select count(*)::text as name from api_keys where name like 'in force%'",
  ];
  const names: string[][] = [];
  for (const statement of statements) {
    names.push((await owner.run(statement)).map((row) => String(row["name"])));
  }
  return names;
}

Deno.test("purgePast() removes activities and ended keys after their time, and names of workers after a week", async () => {
  await using database = await testDatabase();
  await fill(database, await makeAccount(database.ownerUrl), [0, 2, 6, 7, 8, 9, 10, 20, 30, 31]);
  await using worker = openDatabase({ url: database.urlFor(role), role });
  const { signal } = new AbortController();
  const parts = { sql: worker.system, nowMs: Date.now(), signal, portion: 2 };
  assert.equal(await purgePast(parts), 7);
  const young = ["worker 0", "worker 2", "worker 6"];
  const all = await left(database);
  assert.deepEqual(all.map(({ length }) => length), [10, 20, 3, 1]);
  assert.equal(await purgePast({ ...parts, activitiesMs: 9 * day }), 5 + 10);
  const kept = [0, 2, 6, 7, 8];
  assert.deepEqual(await left(database), [
    kept.map((d) => `day ${d}`),
    kept.flatMap((d) => [`ended ${d}`, `revoked ${d}`]),
    young,
    ["10"],
  ]);
  assert.equal(await purgePast({ ...parts, activitiesMs: 9 * day }), 0);
});

Deno.test("the worker's role removes nothing of the last day, whatever it is told", async () => {
  await using database = await testDatabase();
  await fill(database, await makeAccount(database.ownerUrl), [0, 1, 2]);
  await using worker = openDatabase({ url: database.urlFor(role), role });
  const { signal } = new AbortController();
  assert.equal(await purgePast({ sql: worker.system, nowMs: Date.now(), signal, activitiesMs: -day }), 2 + 4);
  const [told, keys] = await left(database);
  assert.deepEqual([told, keys], [["day 0"], ["ended 0", "revoked 0"]]);
  await assert.rejects(worker.system`select action from activity_logs`, { code: "42501" });
  await assert.rejects(worker.system`select key_hash from api_keys`, { code: "42501" });
});

Deno.test("Retention removes old activities by itself", async () => {
  await using database = await testDatabase();
  await fill(database, await makeAccount(database.ownerUrl), [0, 364, 366, 400]);
  await using worker = openDatabase({ url: database.urlFor(role), role });
  await using _job = new Retention({
    database: worker,
    store: { remove: never, list: none },
    log: memoryLog(),
    roundMs: 5,
    terms: { bodies: { unansweredMs: day }, activitiesMs: 365 * day },
  });
  while ((await left(database))[1]?.length !== 4) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual((await left(database))[0], ["day 0", "day 364"]);
});

function never(): never {
  throw new Error("Nothing is to be removed");
}

async function* none(): AsyncGenerator<never> {}
