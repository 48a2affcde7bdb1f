import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { testDatabase } from "../support/postgres.ts";
import { runProgram } from "../support/run_program.ts";
import { makeAccount } from "../support/submissions.ts";

Deno.test("migrate hold makes dead letters of what was unfinished before a backup, and of nothing else", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const { group, user } = await makeAccount(database.ownerUrl);
  const old = "2026-01-31T22:59:59Z";
  const ids = {
    queued: await addMessage("queued", old, ["pending", "accepted"]),
    claimed: await addMessage("processing", old, ["pending"]),
    younger: await addMessage("queued", "2026-01-31T23:00:00Z", ["pending"]),
    delivered: await addMessage("delivered", old, ["accepted"]),
  };

  const args = ["hold", "--older-than", "2026-01-31T23:00:00Z"];
  const result = await runProgram("migrate", args, { SMTP_PROXY_DATABASE_OWNER_URL: database.ownerUrl });

  assert.equal(result.code, 0, result.stderr);
  assert.equal(result.stdout.trim(), "2 made dead letters");
  assert.deepEqual(await stateOf(ids.queued), ["failed", "restored", "failed,accepted"]);
  assert.deepEqual(await stateOf(ids.claimed), ["failed", "restored", "failed"]);
  assert.deepEqual(await stateOf(ids.younger), ["queued", null, "pending"]);
  assert.deepEqual(await stateOf(ids.delivered), ["delivered", null, "accepted"]);
  const [forced] = await owner.query(
    "select bool_and(relforcerowsecurity) as is_forced from pg_class where relname in ('messages', 'recipients')",
    [],
  );
  assert.equal(forced?.["is_forced"], true);

  async function addMessage(status: string, time: string, recipients: readonly string[]): Promise<string> {
    const [row] = await owner.query(
      `insert into messages (id, group_id, user_id, sender, recipient_count, size, content_hash, storage_ref, body, status,
          claimed_until, claim, next_attempt_at, correlation_id, enqueued_at)
        values (uuidv7(), $1, $2, 'a@example.com', $3, 4, sha256('x'), 'inline', 'body', $4::text,
          case when $4::text = 'processing' then now() end, case when $4::text = 'processing' then 1 end, now(), 'c', $5)
        returning id`,
      [group, user, recipients.length, status, time],
    );
    for (const [index, standing] of recipients.entries()) {
      await owner.query(
        `insert into recipients (message_id, position, group_id, address, status) values ($1, $2, $3, $4, $5)`,
        [row?.["id"], index + 1, group, `${index}@example.net`, standing],
      );
    }
    return String(row?.["id"]);
  }

  async function stateOf(id: string): Promise<readonly unknown[]> {
    const [row] = await owner.query(
      `select m.status, m.failure_code, string_agg(r.status::text, ',' order by r.position) as recipients
        from messages m join recipients r on r.message_id = m.id where m.id = $1 group by m.id, m.status, m.failure_code`,
      [id],
    );
    return [row?.["status"], row?.["failure_code"], row?.["recipients"]];
  }
});
