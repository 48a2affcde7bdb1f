import assert from "node:assert/strict";
import { migrations } from "../../migrations/mod.ts";
import { openSession } from "../../lib/postgres/database.ts";
import { testDatabase } from "../support/postgres.ts";
import { runProgram } from "../support/run_program.ts";

Deno.test("migrate goes up, tells its status, goes down by one or to a version, and up again", async () => {
  await using database = await testDatabase({ empty: true });
  const migrate = async (...args: readonly string[]) => {
    const result = await runProgram("migrate", args, { SMTP_PROXY_DATABASE_OWNER_URL: database.ownerUrl });
    assert.equal(result.code, 0, result.stderr);
    return result.stdout.trim().split("\n");
  };
  const isApplied = (line: string) => !line.endsWith("not applied");
  const count = migrations.length;
  assert.equal((await migrate("status")).filter(isApplied).length, 0);
  assert.equal((await migrate()).at(-1), `${count} applied`);
  assert.equal((await migrate("up")).at(-1), "nothing to apply");
  assert.equal((await migrate("down")).at(-1), "1 taken back");
  assert.equal((await migrate("status")).filter(isApplied).length, count - 1);
  assert.equal((await migrate("down", "--to", "0")).at(-1), `${count - 1} taken back`);
  assert.equal((await migrate("up")).at(-1), `${count} applied`);
});

Deno.test("migrate says what it does not understand, or cannot reach, and ends with 1", async () => {
  const unknown = await runProgram("migrate", ["sideways"], {});
  assert.equal(unknown.code, 1);
  assert.match(unknown.stderr, /current value is "sideways"/);
  const url = "postgres://nobody:nothing@127.0.0.1:1/none";
  const unreachable = await runProgram("migrate", ["up"], { SMTP_PROXY_DATABASE_OWNER_URL: url });
  assert.equal(unreachable.code, 1);
  assert.match(unreachable.stderr, /ECONNREFUSED/);
});

Deno.test("migrate logs in with a password of any characters, written as %XX, and shows none of it", async () => {
  await using database = await testDatabase();
  await using owner = await openSession({ url: database.ownerUrl });
  const [role, password] = [`r${crypto.randomUUID().slice(0, 8)}`, "p@ss/w%rd: 100%25 é#?&[secret]"];
  await owner.run(`create role ${role} superuser login password '${password}'`);
  const urlWith = (text: string) => {
    const url = new URL(database.ownerUrl);
    return `postgres://${role}:${text}@${url.host}${url.pathname}`;
  };
  const status = (url: string) => runProgram("migrate", ["status"], { SMTP_PROXY_DATABASE_OWNER_URL: url });
  const right = await status(urlWith(encodeURIComponent(password)));
  assert.equal(right.code, 0, right.stderr);
  const wrong = await status(urlWith(encodeURIComponent("another")));
  assert.deepEqual([wrong.code, wrong.stderr.includes("another")], [1, false]);
  const halfEscaped = await status(urlWith(encodeURIComponent(password).replace("%25rd", "%rd")));
  assert.equal(halfEscaped.code, 2);
  assert.match(halfEscaped.stderr, /^- database\.owner_url has a blank or a % that begins no %XX/m);
  assert.ok(!halfEscaped.stderr.includes("secret"), halfEscaped.stderr);
  await owner.run(`drop role ${role}`);
});

Deno.test("migrate up --logins gives each service its login, and says which password is missing", async () => {
  await using database = await testDatabase();
  const own = { SMTP_PROXY_DATABASE_OWNER_URL: database.ownerUrl };
  const missing = await runProgram("migrate", ["up", "--logins"], own);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /SMTP_PROXY_LOGIN_SMTP_SERVER_PASSWORD/);
  // Logins are the whole server's: the password that they have already leaves other tests as they are.
  const { password } = new URL(database.urlFor("smtp_proxy_worker"));
  const names = ["SMTP_SERVER", "QUEUE_WORKER", "API_SERVER"];
  const passwords = names.map((name) => [`SMTP_PROXY_LOGIN_${name}_PASSWORD`, decodeURIComponent(password)]);
  const { code, stderr } = await runProgram("migrate", ["up", "--logins"], {
    ...own,
    ...Object.fromEntries(passwords),
  });
  assert.equal(code, 0, stderr);
  await using worker = await openSession({ url: database.urlFor("smtp_proxy_worker") });
  await worker.run("set role smtp_proxy_worker; select 1");
});
