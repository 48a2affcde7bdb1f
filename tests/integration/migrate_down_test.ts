import assert from "node:assert/strict";
import { migrateDown, migrateUp } from "../../lib/postgres/migrate.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { migrations } from "../../migrations/mod.ts";
import { testDatabase } from "../support/postgres.ts";

/** Everything that migrations make, but for partitions, in words. */
async function picture(url: string): Promise<readonly string[]> {
  await using session = await openSession({ url });
  const rows = await session.run(`
    select 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
        || coalesce(' ' || (select string_agg(x.acl, ',' order by x.acl)
          from (select unnest(a.attacl)::text as acl) x), '') as line
      from pg_attribute a join pg_class c on c.oid = a.attrelid
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
        and a.attnum > 0 and not a.attisdropped
    union all
    select 'rights ' || c.relname || ' ' || x.acl from pg_class c, lateral (select unnest(c.relacl)::text as acl) x
      where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'S') and not c.relispartition
    union all
    select 'index ' || indexdef from pg_indexes i join pg_class c on c.relname = i.tablename
      where schemaname = 'public' and not c.relispartition and c.relnamespace = 'public'::regnamespace
    union all
    select 'policy ' || p.polrelid::regclass || ' ' || p.polname || ' ' || p.polcmd::text
        || coalesce(' ' || pg_get_expr(p.polqual, p.polrelid), '') from pg_policy p
    union all
    select 'function ' || p.oid::regprocedure || ' ' || p.proowner::regrole || coalesce(' ' || p.proacl::text, '')
      from pg_proc p where p.pronamespace = 'public'::regnamespace
    order by 1`);
  return rows.map((row) => String(row["line"]));
}

/** Those before it leave the owner's rights written down that it has without that. */
const firstExact = 6;

Deno.test("migrateDown() takes every migration back, newest first, and leaves what was before it", async () => {
  await using database = await testDatabase({ empty: true });
  const options = { url: database.ownerUrl, migrations };
  const before: (readonly string[])[] = [];
  for (const { version } of migrations) {
    before.push(await picture(database.ownerUrl));
    assert.equal(await migrateUp(options, version), 1);
  }
  const whole = await picture(database.ownerUrl);
  for (const { version, name } of migrations.toReversed()) {
    if (version < firstExact) break;
    assert.equal(await migrateDown(options, version - 1), 1);
    assert.deepEqual(await picture(database.ownerUrl), before[version - 1], name);
  }
  await migrateDown(options, 0);
  assert.equal(await migrateUp(options), migrations.length);
  assert.deepEqual(await picture(database.ownerUrl), whole);
});
