import assert from "node:assert/strict";
import { openSession, quoteName, type Session } from "../../lib/postgres/database.ts";
import { testDatabase } from "../support/postgres.ts";
import { type GroupRows, twoGroups } from "../support/two_groups.ts";

interface Policy {
  readonly table: string;
  readonly name: string;
  readonly role: string;
}

interface Column {
  readonly name: string;
  readonly reads: boolean;
  readonly inserts: boolean;
  readonly updates: boolean;
}

/** What one role is answered by one table: counts of rows, or why it was refused. */
type Outcome = Readonly<Record<string, string>>;

async function policiesOf(session: Session): Promise<readonly Policy[]> {
  const rows = await session.run(
    `select p.polrelid::regclass::text as table, p.polname as name, r.rolname as role
    from pg_policy p cross join lateral unnest(p.polroles) as of (id) join pg_roles r on r.oid = of.id order by 1, 2, 3`,
  );
  return rows.map((row) => ({
    table: String(row["table"]),
    name: String(row["name"]),
    role: String(row["role"]),
  }));
}

async function columnsOf(session: Session, { table, role }: Policy): Promise<readonly Column[]> {
  const rows = await session.query(
    `select attname as name, has_column_privilege($2, $1::regclass, attname, 'select') as reads,
       has_column_privilege($2, $1::regclass, attname, 'insert') and attgenerated = '' as inserts,
       has_column_privilege($2, $1::regclass, attname, 'update') as updates
     from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped order by attnum`,
    [table, role],
  );
  return rows.map((row) => ({
    name: String(row["name"]),
    reads: row["reads"] === true,
    inserts: row["inserts"] === true,
    updates: row["updates"] === true,
  }));
}

/** The rows of a table as the superuser sees them. */
async function rowsOf(session: Session, table: string): Promise<readonly Record<string, unknown>[]> {
  const rows = await session.run(`select to_jsonb(t) as row from ${table} t limit 4`);
  return rows.map((row) => row["row"] as Record<string, unknown>);
}

/** Asks everything of a table as a role, a group's within alpha, and takes it all back. */
async function outcomeOf(session: Session, policy: Policy, alpha: GroupRows): Promise<Outcome> {
  const { table, role } = policy;
  const columns = await columnsOf(session, policy);
  const rows = await rowsOf(session, table);
  const outcome: Record<string, string> = {};
  const ask = async (name: string, statement: string, values: readonly unknown[] = []) => {
    await session.run(`savepoint question; set local role ${quoteName(role)}`);
    if (role === "smtp_proxy_group") {
      await session.query("select set_config('app.current_group_id', $1, true)", [alpha.group]);
    }
    try {
      outcome[name] = String((await session.query(statement, values)).length);
    } catch (error) {
      outcome[name] = (error as { code?: string }).code ?? String(error);
    }
    await session.run("rollback to question");
  };
  await ask("select", `select 1 from ${table}`);
  await ask("delete", `delete from ${table} returning 1`);
  for (const { name } of columns.filter(({ updates, reads }) => updates && reads).slice(0, 4)) {
    await ask(`update ${name}`, `update ${table} set ${quoteName(name)} = ${quoteName(name)} returning 1`);
  }
  const given = columns.filter(({ inserts }) => inserts).map(({ name }) => quoteName(name)).join(", ");
  for (const [n, row] of rows.entries()) {
    const variants: Readonly<Record<string, Record<string, unknown>>> = {
      same: row,
      new: { ...row, ...renewed(row) },
      mine: "group_id" in row ? { ...row, "group_id": alpha.group } : row,
    };
    for (const [name, variant] of Object.entries(variants)) {
      if (given === "") continue;
      await ask(
        `insert ${name} ${n}`,
        `insert into ${table} (${given}) select ${given} from jsonb_populate_record(null::${table}, $1)`,
        [JSON.stringify(variant)],
      );
    }
  }
  return outcome;
}

/** A row that is nobody's yet. */
function renewed(row: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const id = crypto.randomUUID();
  return {
    ...("id" in row && typeof row["id"] === "string" ? { id } : {}),
    ...("email" in row ? { email: `${id}@new.example` } : {}),
    ...("username" in row ? { username: id } : {}),
  };
}

Deno.test("dropping any one policy changes what its role is answered by its table", async () => {
  await using database = await testDatabase();
  const [alpha, beta] = await twoGroups(database.ownerUrl);
  await using session = await openSession({ url: database.ownerUrl });
  await session.run(more(alpha, beta));
  const policies = await policiesOf(session);
  assert.ok(policies.length > 80, String(policies.length));
  const empty: string[] = [];
  for (const table of new Set(policies.map(({ table }) => table))) {
    if ((await rowsOf(session, table)).length === 0) empty.push(table);
  }
  assert.deepEqual(empty, [], "tables without a row show nothing");
  const unseen: string[] = [];
  await session.run("begin");
  for (const policy of policies) {
    const before = await outcomeOf(session, policy, alpha);
    await session.run(`savepoint policy; drop policy ${quoteName(policy.name)} on ${policy.table}`);
    const after = await outcomeOf(session, policy, alpha);
    await session.run("rollback to policy");
    if (JSON.stringify(before) === JSON.stringify(after)) {
      unseen.push(`${policy.table} ${policy.name} to ${policy.role}: ${JSON.stringify(before)}`);
    }
  }
  await session.run("rollback");
  assert.deepEqual(unseen, []);
});

/** Rows that the two groups have none of, and a message in each state that a policy asks for. */
function more(alpha: GroupRows, beta: GroupRows): string {
  return `
    update messages set status = 'failed', failure_code = 'refused' where id = '${beta.message}';
    insert into webhook_receipts (group_id, provider_id, token, content_hash)
      values ('${alpha.group}', '${alpha.provider}', 't', sha256('x'));
    insert into activity_logs (group_id, action, resource_type, created_at)
      values ('${alpha.group}', 'test', 'group', now() - interval '2 days');
    insert into api_keys (group_id, user_id, name, prefix, key_hash, revoked_at)
      values ('${alpha.group}', '${alpha.user}', 'old', 'sp_old', sha256('old'), now() - interval '2 days');
    insert into refused_submissions (id, account, command, code, reason, reply, correlation_id, times, first_at, last_at)
      values (uuidv7(), 'nobody', 'AUTH PLAIN', 535, 'credentials_wrong', 'No', 'c', 1, now(), now());
  `;
}
