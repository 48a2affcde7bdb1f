// `deno task plans`: fills a database with a million messages and looks, with EXPLAIN ANALYZE and as each service's own
// role, at the plan of every statement the services make and at what it reads, also within functions. One line for each
// statement; ends with 1 when one of them reads a large table from its beginning, or a large part of one.
import { writeSync } from "node:fs";
import { join } from "node:path";
import { openSession, type Session } from "../../lib/postgres/database.ts";
import { migrateUp } from "../../lib/postgres/migrate.ts";
import { migrations } from "../../migrations/mod.ts";
import { removeCluster } from "../../services/dev/cluster_folder.ts";
import { startPostgres } from "../../services/dev/postgres.ts";
import { freePort } from "../support/ports.ts";
import { makeOldWeeks } from "../support/old_weeks.ts";
import { makeAccount, type TestAccount } from "../support/submissions.ts";
import { explainingDatabase, type Look } from "./explaining_database.ts";
import { exercises } from "./plan_exercises.ts";
import { fillLists, planProvider } from "./plan_list_exercises.ts";

const million = Number(Deno.args[0] ?? 1_000_000);
const folder = await Deno.makeTempDir();
await Deno.chmod(folder, 0o755);
const cluster = join(folder, "postgres");
let isBad = false;
try {
  await using postgres = await startPostgres({
    dir: cluster,
    port: freePort(),
    password: "plans",
    durable: false,
  });
  await migrateUp({ url: postgres.url, migrations });
  const account = await makeAccount(postgres.url);
  await separateWeeks(postgres.url);
  await fill(postgres.url, account);
  for (const { role, run } of exercises) {
    await using session = await openSession({ url: postgres.url, role });
    // The first time fills the session's caches; the second is what a running service sees.
    await run(explainingDatabase(session, () => {}), account, await sampleIds(postgres.url));
    await run(
      explainingDatabase(session, (look) => tell(role, look)),
      account,
      await sampleIds(postgres.url),
    );
  }
} finally {
  await removeCluster(cluster);
  await Deno.remove(folder, { recursive: true });
}
Deno.exitCode = isBad ? 1 : 0;

function tell(role: string, { statement, ms, buffers, wholeTables, entries }: Look): void {
  // What is queued is a hundredth, and its gauge counts all of it; twice as much nobody needs to read.
  const isMuch = entries > Math.max(million / 50, 10_000);
  if (wholeTables.length > 0 || isMuch) isBad = true;
  const verdict = wholeTables.length > 0
    ? `READS ALL OF ${wholeTables.join(", ")}`
    : isMuch
    ? "READS TOO MUCH"
    : "by index";
  const words = statement.replace(/\s+/g, " ").trim().slice(0, 90);
  const numbers = `${ms.toFixed(2).padStart(9)} ms ${String(buffers).padStart(7)} pages ${
    String(entries).padStart(7)
  } entries`;
  say(`${numbers}  ${verdict}  ${role}: ${words}`);
}

/** So that some of the mail is of weeks that are over and may be counted. */
async function separateWeeks(url: string): Promise<void> {
  await using session = await openSession({ url });
  await makeOldWeeks(session, 8);
}

/** Mostly finished mail, as in a system that has run for weeks; one part in a hundred is queued, due or later. */
async function fill(url: string, account: TestAccount): Promise<void> {
  await using session = await openSession({ url, statementTimeoutMs: 1_800_000 });
  const { group, user } = account;
  say(`filling ${million} messages`);
  await session.run(`begin; set local session_replication_role = replica;
    create temp table made on commit drop as
      select n, (lpad(to_hex((extract(epoch from now() - interval '20 days' * (1 - n / ${million}.0)) * 1000)::bigint),
        12, '0') || '7' || lpad(to_hex(n % 4096), 3, '0') || '8' || lpad(to_hex(n), 15, '0'))::uuid as id
      from generate_series(1, ${million}) n;
    insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, submission_hash, storage_ref,
      status, failure_code, next_attempt_at, correlation_id, enqueued_at)
    select id, '${group}', '${user}', 'a@example.com', 1, 10240, sha256(n::text::bytea), sha256(('s' || n)::bytea),
      'local:2026/11/22/21/0-x.seg#' || n || '+10240',
      case when n % 100 = 0 then 'queued' when n % 100 = 1 then 'failed' else 'delivered' end,
      case when n % 100 = 1 then 'refused' end,
      now() + case when n % 200 = 0 then interval '5 minutes' else interval '-10 minutes' end, 'c', now() from made;
    insert into recipients (message_id, position, group_id, address, status)
    select id, 1, '${group}', 'r' || n || '@example.net', case when n % 100 = 0 then 'pending' else 'accepted' end
    from made;
    insert into delivery_logs (id, message_id, group_id, user_id, claim, recipients, status, provider_id,
      provider_message_id)
    select uuidv7(), id, '${group}', '${user}', n, '{1}', 'delivered', '${planProvider}', 'p' || n from made where n % 100 > 1;
    commit`);
  await fillLists(session, account, million);
  await session.run("vacuum analyze");
}

async function sampleIds(url: string): Promise<readonly string[]> {
  await using session: Session = await openSession({ url });
  const rows = await session.run(`select id from messages where status = 'queued'
    and next_attempt_at < now() order by id desc limit 20`);
  return rows.map((row) => String(row["id"]));
}

function say(line: string): void {
  writeSync(1, line + "\n");
}
