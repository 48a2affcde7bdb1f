import assert from "node:assert/strict";
import type { GroupId, ProviderId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { allowOperatorCredentials, listProviders, putProvider } from "../../lib/providers/providers_table.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { twoGroups } from "../support/two_groups.ts";

async function prepared() {
  const database = await testDatabase();
  const [alpha] = await twoGroups(database.ownerUrl);
  return { database, group: alpha.group as GroupId, id: alpha.provider as ProviderId };
}

function open(database: TestDatabase, role: "smtp_proxy_group" | "smtp_proxy_admin" | "smtp_proxy_worker") {
  return openDatabase({ url: database.urlFor(role), role, poolMax: 1, applicationName: "test" });
}

Deno.test("the group role reads whether a provider may use the operator's credentials, and cannot say so", async () => {
  const { database, group, id } = await prepared();
  await using _gone = database;
  await using members = open(database, "smtp_proxy_group");
  const forbidden = [
    (sql: Parameters<Parameters<typeof members.forGroup>[1]>[0]) =>
      sql`update esp_providers set operator_credentials = true where id = ${id}`,
    (sql: Parameters<Parameters<typeof members.forGroup>[1]>[0]) =>
      sql`insert into esp_providers (group_id, name, provider_type, operator_credentials)
        values (${group}, 'mine', 'ses', true)`,
  ];
  for (const statement of forbidden) {
    await assert.rejects(
      members.forGroup(group, statement),
      (error: { code?: string }) => error.code === "42501",
    );
  }
  const { providers } = await members.forGroup(group, (sql) => listProviders(sql, group));
  assert.deepEqual(providers.map(({ operatorCredentials }) => operatorCredentials), [false]);
});

Deno.test("allowOperatorCredentials() counts for the settings it was given for, and for no others", async () => {
  const { database, group, id } = await prepared();
  await using _gone = database;
  await using members = open(database, "smtp_proxy_group");
  await using admin = open(database, "smtp_proxy_admin");
  await using worker = open(database, "smtp_proxy_worker");
  const put = (changes: { name?: string; settings?: Record<string, unknown>; providerType?: string }) =>
    members.forGroup(group, (sql) =>
      putProvider(sql, {
        id,
        groupId: group,
        name: "ses",
        providerType: "ses",
        settings: { credentials: "instance", region: "eu-west-1" },
        secrets: null,
        keyId: null,
        enabled: true,
        ...changes,
      }));
  const isAllowed = async () => (await listProviders(worker.system, group)).providers[0]?.operatorCredentials;
  await put({});
  assert.equal(await isAllowed(), false);
  const before = (await listProviders(worker.system, group)).revision;
  await allowOperatorCredentials(admin.system, id, true);
  assert.equal(await isAllowed(), true);
  assert.ok((await listProviders(worker.system, group)).revision > before, "workers open the provider anew");
  await put({ name: "renamed" });
  assert.equal(await isAllowed(), true, "its name is nothing to the operator");
  await put({
    settings: { credentials: "instance", region: "eu-west-1", "role_arn": "arn:aws:iam::1:role/x" },
  });
  assert.equal(await isAllowed(), false);
  await allowOperatorCredentials(admin.system, id, true);
  await put({ providerType: "other" });
  assert.equal(await isAllowed(), false);
});

Deno.test("the admin role may say so and change nothing else of a provider", async () => {
  const { database, id } = await prepared();
  await using _gone = database;
  await using session = await openSession({
    url: database.urlFor("smtp_proxy_admin"),
    role: "smtp_proxy_admin",
  });
  for (const change of ["settings = '{}'", "enabled = false", "secrets = null", "group_id = uuidv7()"]) {
    await assert.rejects(
      session.run(`update esp_providers set ${change} where id = '${id}'`),
      (error: { code?: string }) => error.code === "42501",
      change,
    );
  }
  await assert.rejects(session.run("select settings from esp_providers"), /permission denied/);
});
