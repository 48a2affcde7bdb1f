import assert from "node:assert/strict";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { requireKeys } from "../../lib/providers/require_keys.ts";
import { memoryLog } from "../support/memory_log.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { makeAccount } from "../support/submissions.ts";

const refusal =
  /Cannot start: secrets of providers are sealed in the database, and secrets\.keys names no key/;

async function sealOne(database: TestDatabase): Promise<void> {
  await using owner = await openSession({ url: database.ownerUrl });
  const { group } = await makeAccount(database.ownerUrl);
  await owner.query(
    `insert into esp_providers (group_id, name, provider_type, secrets, key_id)
     values ($1, 'relay', 'smtp', '\\x00', 'lost')`,
    [group],
  );
}

for (
  const [service, role] of [["queue-worker", "smtp_proxy_worker"], [
    "api-server",
    "smtp_proxy_admin",
  ]] as const
) {
  Deno.test(`requireKeys() asks as ${service} may: it warns in development, and is content without secrets`, async () => {
    await using database = await testDatabase();
    await using asked = openDatabase({ url: database.urlFor(role), role });
    const log = memoryLog();
    await requireKeys(asked.system, { hasKeys: false, development: false, log });
    await sealOne(database);
    await requireKeys(asked.system, { hasKeys: true, development: false, log });
    assert.deepEqual(log.lines, []);
    await assert.rejects(requireKeys(asked.system, { hasKeys: false, development: false, log }), refusal);
    await requireKeys(asked.system, { hasKeys: false, development: true, log });
    assert.deepEqual(log.lines.map(({ level, sentence }) => `${level} ${sentence}`), [
      "warn sealed secrets cannot be opened",
    ]);
  });
}
