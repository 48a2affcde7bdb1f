import assert from "node:assert/strict";
import { newId } from "../../lib/ids.ts";
import { openDatabase, openSession } from "../../lib/postgres/database.ts";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { hashPassword, verifyPassword } from "../../lib/users/password.ts";
import { Retention } from "../../services/queue-worker/retention.ts";
import { trimRefusals } from "../../services/queue-worker/trim_refused.ts";
import { accountsOf, openThrottle } from "../../services/smtp-server/accounts.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { Credentials } from "../../services/smtp-server/credentials.ts";
import { observe } from "../../services/smtp-server/observe.ts";
import { readPolicies } from "../../services/smtp-server/policies.ts";
import { openRefusedSubmissions } from "../../services/smtp-server/refused_submissions.ts";
import { addGroup, addPerson, testApi } from "../support/api.ts";
import { memoryLog } from "../support/memory_log.ts";
import { type TestDatabase, testDatabase } from "../support/postgres.ts";
import { greeted, openStage, plainToken, type Wire } from "../support/smtp_wire.ts";
import { makeAccount } from "../support/submissions.ts";

const right = "the-right-password";
const wrong = "a-wrong-password";
const apiKey = `sp_abcdefgh_${"k".repeat(43)}`;

/** smtp-server with accounts, policies and records in PostgreSQL, behind real sockets. */
async function openScene(database: TestDatabase) {
  await using stack = new AsyncDisposableStack();
  const intake = stack.use(
    openDatabase({ url: database.urlFor("smtp_proxy_intake"), role: "smtp_proxy_intake" }),
  );
  const metrics = createMetrics();
  const log = memoryLog();
  const refused = stack.use(openRefusedSubmissions(intake, { log, metrics, stopMs: 60_000 }));
  const gate = new Credentials({
    accounts: {
      ...accountsOf(intake, (error) => assert.fail(String(error))),
      policyOf: readPolicies({ database: intake, lineEndings: "refuse", now: () => new Date(), freshMs: 0 }),
    },
    throttle: await openThrottle(intake, (error) => assert.fail(String(error))),
    verifyPassword,
    dummyHash: await hashPassword("nobody's"),
    apiKeyHash: () => undefined,
    now: Date.now,
    failAfterMs: 0,
  });
  const stage = stack.use(
    await openStage({
      tls: "starttls",
      certificate: await selfSignedCertificate(new Date(), "host.test"),
      gate,
      observer: observe(metrics, (step) => refused.note(step)),
      limits: { maxLoginFailures: 10 },
      rules: { maxRecipients: 1, maxMessageSize: 5000 },
    }),
  );
  const opened = stack.move();
  return { stage, metrics, log, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

async function give(wire: Wire, text: string): Promise<string> {
  await wire.ask("MAIL FROM:<a@example.com>");
  await wire.ask("RCPT TO:<b@example.org>");
  await wire.ask("DATA");
  return await wire.ask(`${text}\r\n.`);
}

Deno.test("what is refused is kept once, with who, from where, what and why, and without a credential", async () => {
  await using database = await testDatabase();
  const account = await makeAccount(database.ownerUrl, {
    name: "shop",
    passwordHash: await hashPassword(right),
    monthlyLimit: 1,
  });
  await using owner = await openSession({ url: database.ownerUrl });
  const refusals: string[] = [];
  let logged = "";
  {
    await using scene = await openScene(database);
    await using wire = await greeted(scene.stage);
    const ask = async (line: string) => void refusals.push(await wire.ask(line));
    await wire.ask("EHLO client.test");
    await ask(`AUTH PLAIN ${plainToken("shop", right)}`);
    await ask(`${right}`);
    await wire.ask("STARTTLS");
    await wire.startTls();
    await wire.ask("EHLO client.test");
    await ask("MAIL FROM:<a@example.com>");
    await ask(`AUTH PLAIN ${plainToken("Shop", wrong)}`);
    await ask(`AUTH PLAIN ${plainToken("nobody\u0301", wrong)}`);
    await ask(`AUTH PLAIN ${plainToken(apiKey, wrong)}`);
    await wire.ask("AUTH LOGIN");
    await wire.ask(new TextEncoder().encode("shop").toBase64());
    assert.match(await wire.ask(new TextEncoder().encode(right).toBase64()), /^235/);
    await ask("MAIL FROM:<a@elsewhere.example>");
    await ask("MAIL FROM:<a@example.com> SIZE=6000");
    await ask("MAIL FROM:<a@example.com> FUTURE=1");
    await wire.ask("MAIL FROM:<a@example.com>");
    await ask("RCPT TO:<no address>");
    await wire.ask("RCPT TO:<b@example.org>");
    await ask("RCPT TO:<c@example.org>");
    await wire.ask("RSET");
    const text = "Subject: x\r\n\r\nhello";
    refusals.push(await give(wire, `From: a@elsewhere.example\r\n${text}`));
    refusals.push(await give(wire, `From: a@example.com\r\n${text}\nbare`));
    refusals.push(
      await give(wire, `${"Received: from x by y\r\n".repeat(31)}From: a@example.com\r\n${text}`),
    );
    assert.match(await give(wire, `From: a@example.com\r\n${text}`), /^250/);
    await owner.query(
      "insert into usage (group_id, month, messages) values ($1, date_trunc('month', now() at time zone 'UTC'), 1)",
      [account.group],
    );
    await ask("MAIL FROM:<a@example.com>");
    assert.deepEqual(scene.log.lines, []);
    logged = JSON.stringify(scene.stage.watcher.infos);
  }
  const rows = await owner.run("select * from refused_submissions order by id");
  const told = rows.map((row) => [
    row["group_id"] === account.group ? "shop's" : row["group_id"],
    row["account"],
    row["command"],
    row["sender"],
    `${row["code"]} ${row["enhanced"]}`,
    row["reason"],
  ]);
  const mine = ["shop's", "shop"] as const;
  const from = "MAIL FROM:<a@example.com>";
  assert.deepEqual(told, [
    [null, null, "AUTH", null, "538 5.7.11", "encryption_required"],
    [null, null, "MAIL", null, "530 5.7.0", "authentication_required"],
    ["shop's", "Shop", "AUTH PLAIN", null, "535 5.7.8", "credentials_wrong"],
    [null, "nobody\u0301", "AUTH PLAIN", null, "535 5.7.8", "credentials_wrong"],
    [null, "sp_abcdefgh_…", "AUTH PLAIN", null, "535 5.7.8", "credentials_wrong"],
    [...mine, "MAIL FROM:<a@elsewhere.example>", null, "550 5.7.1", "sender_domain_not_allowed"],
    [...mine, `${from} SIZE=6000`, null, "552 5.3.4", "message_too_large"],
    [...mine, `${from} FUTURE=1`, null, "555 5.5.4", "parameter_unknown"],
    [...mine, "RCPT TO:<no address>", "a@example.com", "501 5.1.3", "recipient_address_invalid"],
    [...mine, "RCPT TO:<c@example.org>", "a@example.com", "452 4.5.3", "too_many_recipients"],
    [...mine, "DATA", "a@example.com", "550 5.7.1", "from_domain_not_allowed"],
    [...mine, "DATA", "a@example.com", "550 5.6.11", "bare_line_ending"],
    [...mine, "DATA", "a@example.com", "554 5.4.6", "mail_loop"],
    [...mine, from, null, "452 4.7.1", "quota_reached"],
  ]);
  // The command that nobody knows is no mail; every other refusal is told as the client heard it.
  const heard = refusals.filter((reply) => !reply.startsWith("500"));
  assert.deepEqual(rows.map((row) => `${row["code"]} ${row["enhanced"]} ${row["reply"]}`), heard);
  for (const [index, row] of rows.entries()) {
    assert.deepEqual([row["address"], row["times"]], ["127.0.0.1", 1]);
    if (index === 0) assert.equal(row["tls"], null);
    else assert.match(String(row["tls"]), /^TLSv1\.3 TLS_/);
    assert.ok(String(row["correlation_id"]).length > 5);
    assert.deepEqual(row["first_at"], row["last_at"]);
  }
  const tries = await owner.run("select account from auth_attempts");
  assert.ok(tries.length > 0 && logged.includes("sp_abcdefgh_…"));
  const all = JSON.stringify([rows, tries]) + logged;
  const secrets = [right, wrong, "kkkk", plainToken("Shop", wrong), plainToken("shop", right)];
  for (const secret of secrets) assert.ok(!all.includes(secret), secret);
});

Deno.test("a flood of wrong logins costs a few rows, and each row says how many it stands for", async () => {
  await using database = await testDatabase();
  await makeAccount(database.ownerUrl, { name: "shop", passwordHash: await hashPassword(right) });
  await using owner = await openSession({ url: database.ownerUrl });
  let text = "";
  {
    await using scene = await openScene(database);
    await Promise.all(Array.from({ length: 20 }, async () => {
      await using wire = await scene.stage.connect();
      await wire.reply();
      await wire.ask("EHLO client.test");
      await wire.ask("STARTTLS");
      await wire.startTls();
      await wire.ask("EHLO client.test");
      for (let n = 0; n < 9; n++) {
        assert.match(await wire.ask(`AUTH PLAIN ${plainToken("shop", wrong)}`), /^[45]/);
      }
    }));
    text = await scene.metrics.text();
  }
  const rows = await owner.run("select reason, times from refused_submissions where group_id is not null");
  const total = rows.reduce((sum, row) => sum + Number(row["times"]), 0);
  assert.equal(total, 180);
  assert.ok(rows.length <= 8, `${rows.length} rows`);
  assert.match(text, /smtp_refusal_records_total\{result="counted"[^}]*\} 17\d/);
});

/** Records as the superuser writes them, so many and so many days old. */
async function fill(
  { ownerUrl }: Pick<TestDatabase, "ownerUrl">,
  group: string | null,
  count: number,
  days = 0,
): Promise<void> {
  await using owner = await openSession({ url: ownerUrl });
  await owner.query(
    `insert into refused_submissions (id, group_id, account, address, command, code, reason, reply, correlation_id, times,
        first_at, last_at)
      select first_uuid_at(t), $1::uuid, 'Account-' || n, '192.0.2.1'::inet + n, 'AUTH PLAIN', 535, 'credentials_wrong',
        'No', 'c', 1, t, t
      from generate_series(1, $2::int) n, lateral (
        select now() - make_interval(days => $3::int) - make_interval(secs => $2::int - n) as t) at`,
    [group, count, days],
  );
}

Deno.test("trimRefusals() leaves the newest of each group and of nobody's, and none older than other rows", async () => {
  await using database = await testDatabase();
  const [alpha, beta] = [await makeAccount(database.ownerUrl), await makeAccount(database.ownerUrl)];
  for (const [group, count] of [[alpha.group, 25], [beta.group, 5], [null, 13]] as const) {
    await fill(database, group, count);
  }
  await using worker = openDatabase({ url: database.urlFor("smtp_proxy_worker"), role: "smtp_proxy_worker" });
  await using owner = await openSession({ url: database.ownerUrl });
  const { signal } = new AbortController();
  const parts = { sql: worker.system, nowMs: Date.now(), signal, keep: 10, portion: 4 };
  assert.equal(await trimRefusals(parts), 15 + 3);
  const left = await owner.run(`select group_id, count(*)::int as count, min(account) as first from (
      select group_id, account from refused_submissions order by id) r group by 1 order by 2`);
  assert.deepEqual(left.map(({ count }) => count), [5, 10, 10]);
  assert.deepEqual(await owner.run("select from refused_submissions where account = 'Account-15'"), []);
  assert.equal(await trimRefusals(parts), 0);
  await fill(database, alpha.group, 3, 91);
  const day = 86_400_000;
  const retention = { database: worker, store: { remove: never, list: none }, log: memoryLog(), roundMs: 5 };
  await using _job = new Retention({
    ...retention,
    terms: { bodies: { unansweredMs: day }, rowsMs: 90 * day },
  });
  const old = "select from refused_submissions where last_at < now() - interval '90 days'";
  while ((await owner.run(old)).length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal((await owner.run("select from refused_submissions")).length, 25);
});

function never(): never {
  throw new Error("Nothing is to be removed");
}

async function* none(): AsyncGenerator<never> {}

Deno.test("GET /refused-submissions pages and filters a group's own, and nobody's for operators alone", async () => {
  await using api = await testApi();
  const [alpha, beta] = [await addGroup(api, "alpha"), await addGroup(api, "beta")];
  const system = await addGroup(api, "system", "system");
  for (const [name, group] of [["alpha", alpha], ["beta", beta], ["system", system]] as const) {
    await addPerson(api, `member@${name}.example`, [[group, "member"]]);
  }
  await fill(api.database, alpha, 7);
  await fill(api.database, null, 2);
  await using owner = await openSession({ url: api.database.ownerUrl });
  await owner.query(
    `insert into refused_submissions (id, group_id, account, address, command, sender, code, enhanced, reason, reply, tls,
      correlation_id, times, first_at, last_at)
    values ($1, $2, 'shop', '2001:db8::7', 'RCPT TO:<x>', 'a@b.example', 501, '5.1.3', 'recipient_address_invalid',
      'Not an address', 'TLSv1.3', 'c-1', 3, '2026-11-01T00:00:00Z', '2026-11-01T00:01:00Z')`,
    [newId<never>() as string, alpha],
  );
  const token = await api.login("member@alpha.example");
  const path = "/api/v1/refused-submissions";
  const { status, body } = await api.ask("GET", `${path}?limit=5`, { token });
  assert.equal(status, 200, JSON.stringify(body));
  const { id: _, ...first } = body.items[0];
  assert.deepEqual(first, {
    "refused_at": "2026-11-01T00:01:00.000Z",
    times: 3,
    "first_refused_at": "2026-11-01T00:00:00.000Z",
    address: "2001:db8::7",
    account: "shop",
    command: "RCPT TO:<x>",
    sender: "a@b.example",
    code: 501,
    "enhanced_code": "5.1.3",
    reason: "recipient_address_invalid",
    reply: "Not an address",
    tls: "TLSv1.3",
    "correlation_id": "c-1",
  });
  const rest = await api.ask("GET", `${path}?limit=5&cursor=${body.next_cursor}`, { token });
  assert.deepEqual([rest.body.items.length, rest.body.next_cursor], [3, null]);
  const count = async (query: string, who = token) => {
    const answer = await api.ask("GET", `${path}?${query}`, { token: who });
    return answer.status === 200 ? answer.body.items.length : answer.body.code;
  };
  assert.equal(await count("account=ACCOUNT-3"), 1);
  assert.equal(await count("address=192.0.2.4"), 1);
  assert.equal(await count("address=192.0.2.0/30"), 2);
  assert.equal(await count("address=2001:DB8::/32"), 1);
  assert.equal(await count("code=501"), 1);
  assert.equal(await count("reason=credentials_wrong&code=535"), 7);
  assert.equal(await count("until=2020-01-01T00:00:00Z"), 0);
  assert.equal(await count("since=2020-01-01T00:00:00Z"), 8);
  assert.equal(await count("address=here"), "request_invalid");
  assert.equal(await count("without_group=true"), "permission_missing");
  assert.equal(await count("", await api.login("member@beta.example")), 0);
  const operator = await api.login("member@system.example");
  assert.equal(await count("", operator), 0);
  assert.equal(await count("without_group=true", operator), 2);
  const headers = { "x-group-id": alpha };
  const named = await api.ask("GET", path, { token: operator, headers });
  assert.equal(named.body.items.length, 8);
  assert.deepEqual(api.faults, []);
});
