import assert from "node:assert/strict";
import { openSession } from "../../lib/postgres/database.ts";
import { newKeyText, parseKeys, providerOwner, unseal } from "../../lib/secrets/seal.ts";
import { verifyPassword } from "../../lib/users/password.ts";
import type { GroupId, ProviderId } from "../../lib/ids.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { runProgram } from "../support/run_program.ts";

const keys = newKeyText("test");

function seed(database: TestDatabase, ...args: readonly string[]) {
  return runProgram("seed", args, {
    SMTP_PROXY_DATABASE_URL: database.urlFor("smtp_proxy_admin"),
    SMTP_PROXY_SECRETS_KEYS: keys,
    SMTP_PROXY_ENVIRONMENT: "development",
  });
}

function relay(port: number, name: string, password?: string): string {
  const login = password === undefined ? {} : { username: "u", password };
  return JSON.stringify({
    name,
    provider_type: "smtp",
    smtp_config: { host: "127.0.0.1", port, tls: "none", ...login },
  });
}

Deno.test("seed creates the dev group with its SMTP account, once", async () => {
  await using database = await testDatabase();
  for (let run = 1; run <= 2; run++) assert.equal((await seed(database)).code, 0);
  await using session = await openSession({ url: database.ownerUrl });
  const rows = await session.run(`
    select g.name, g.group_type, g.monthly_limit, g.allowed_domains as group_domains, u.username, u.account_type,
      u.allowed_domains, u.password_hash from groups g join group_members m on m.group_id = g.id
      join users u on u.id = m.user_id`);
  assert.equal(rows.length, 1);
  const { password_hash: hash, ...row } = rows[0] ?? {};
  assert.deepEqual(row, {
    name: "dev-company",
    "group_type": "company",
    "monthly_limit": 0,
    "group_domains": ["example.com"],
    username: "dev",
    "account_type": "smtp",
    "allowed_domains": ["example.com"],
  });
  assert.equal(await verifyPassword("dev", String(hash)), true);
});

Deno.test("seed --provider makes the group's provider, and replaces it, also under another name", async () => {
  await using database = await testDatabase();
  assert.equal((await seed(database, "--provider", relay(2526, "sink"))).code, 0);
  assert.equal((await seed(database, `--provider=${relay(2527, "sink")}`)).code, 0);
  assert.equal((await seed(database, "--provider", relay(2528, "other", "hush"))).code, 0);
  await using session = await openSession({ url: database.ownerUrl });
  const rows = await session.run("select * from esp_providers");
  assert.equal(rows.length, 1);
  const row = rows[0] ?? {};
  assert.equal(row["name"], "other");
  assert.deepEqual(row["settings"], { host: "127.0.0.1", port: 2528, tls: "none", username: "u" });
  const sealed = { keyId: String(row["key_id"]), bytes: row["secrets"] as Uint8Array };
  const owner = providerOwner(row["group_id"] as GroupId, row["id"] as ProviderId);
  assert.deepEqual(JSON.parse(await unseal(sealed, owner, await parseKeys(keys) ?? [])), {
    password: "hush",
  });
});

Deno.test("seed refuses a provider it does not understand and creates nothing", async () => {
  await using database = await testDatabase();
  const { code, stderr } = await seed(database, "--provider", '{"name":"x","provider_type":"pigeon"}');
  assert.equal(code, 1);
  assert.match(stderr, /there is no provider_type "pigeon"/);
  await using session = await openSession({ url: database.ownerUrl });
  assert.deepEqual(await session.run("select id from groups"), []);
});

Deno.test("seed --check proves a provider's credentials, and sends a test message only when it is told to", async () => {
  await using database = await testDatabase();
  await using sink = await SmtpSink.open();
  const checked = await seed(database, "--check", relay(sink.port, "one"));
  assert.deepEqual([checked.code, checked.stdout], [0, "one: the credentials work\n"], checked.stderr);
  assert.equal(sink.mails.length, 0);
  const mail = ["--from", "a@example.com", "--to", "b@example.org"];
  const sent = await seed(database, "--check", relay(sink.port, "one"), ...mail);
  assert.match(sent.stdout, /credentials work\none: took the test message, id /);
  assert.deepEqual(sink.mails.map(({ to }) => to), [["<b@example.org>"]]);
  await using session = await openSession({ url: database.ownerUrl });
  assert.deepEqual(await session.run("select id from esp_providers"), []);
});

Deno.test("seed --check says what is wrong with a provider and ends with 1", async () => {
  await using database = await testDatabase();
  await using sink = await SmtpSink.open({
    script: ({ at }) => at === "EHLO" ? { reply: "554 5.7.1 Go away" } : undefined,
  });
  const { code, stderr } = await seed(database, "--check", relay(sink.port, "one"));
  assert.equal(code, 1);
  assert.match(stderr, /^one: \w+: .*Go away/);
});
