import assert from "node:assert/strict";
import { openSession, quoteName } from "../../lib/postgres/database.ts";
import { until } from "../../services/dev/processes.ts";
import { runProgram } from "../support/run_program.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { type TestSystem, withServices } from "../support/spawn_services.ts";
import { submitMail } from "../support/submit_mail.ts";

/** Submits a mail as the dev account; it throws unless it is answered with 250. */
async function submit(system: TestSystem, subject: string, bytes = 100): Promise<void> {
  const text = `From: me@example.com\r\nSubject: ${subject}\r\n\r\n${
    "0123456789abcdef\r\n".repeat(bytes / 18)
  }`;
  await submitMail(system, text);
}

/** Copies a database beside it, or puts the copy in its place; whoever was connected must have been stopped. */
async function copyDatabase({ ownerUrl }: TestSystem, way: "back up" | "restore"): Promise<void> {
  const url = new URL(ownerUrl);
  const database = url.pathname.slice(1);
  const name = quoteName(database);
  const connected = `select application_name, query from pg_stat_activity
    where datname = '${database}' and backend_type = 'client backend'`;
  url.pathname = "/template1";
  await using session = await openSession({ url: url.href });
  // A session ends a little after its client.
  const isAlone = async () => (await session.run(connected)).length === 0;
  assert.ok(await until(isAlone, 60_000), JSON.stringify(await session.run(connected)));
  if (way === "back up") return void await session.run(`create database older template ${name}`);
  await session.run(`drop database ${name}`);
  await session.run(`alter database older rename to ${name}`);
}

async function sendDeadLettersAgain(
  { apiPort }: TestSystem,
): Promise<{ readonly dead: number; readonly sent: number }> {
  const ask = async (path: string, token?: string, body?: unknown, group?: string) => {
    const response = await fetch(`http://127.0.0.1:${apiPort}/api/v1${path}`, {
      method: body === undefined ? "GET" : "POST",
      headers: {
        ...token !== undefined && { authorization: `Bearer ${token}` },
        ...group !== undefined && { "x-group-id": group },
        ...body !== undefined && { "content-type": "application/json" },
      },
      ...body !== undefined && { body: JSON.stringify(body) },
    });
    return await response.json();
  };
  const token =
    (await ask("/auth/login", undefined, { email: "admin@localhost", password: "admin" }))["access_token"];
  const groups: { readonly name: string; readonly id: string }[] = await ask("/groups", token);
  const group = groups.find(({ name }) => name === "dev-company")?.id;
  const { items } = await ask("/dlq?failure_code=restored", token, undefined, group);
  const filter = { "failure_code": "restored" };
  const answer = await ask("/dlq/reprocess", token, { filter }, group);
  return { dead: items.length, sent: answer["reprocessed"] };
}

Deno.test("mail that was accepted after a backup is found again after its restore, and delivered once", async () => {
  await using sink = await SmtpSink.open();
  const provider = {
    name: "sink",
    "provider_type": "smtp",
    "smtp_config": { host: "127.0.0.1", port: sink.port, tls: "none" },
  };
  await withServices({ provider, start: ["smtpServer", "queueWorker"] }, async (system) => {
    await submit(system, "before");
    assert.ok(await until(() => Promise.resolve(sink.mails.length === 1), 60_000));
    await system.queueWorker.stop();
    await system.smtpServer.stop();
    await copyDatabase(system, "back up");

    await system.smtpServer.start();
    await submit(system, "small");
    await submit(system, "large", 2_000_000);
    await system.smtpServer.stop();
    await copyDatabase(system, "restore");

    const variables = {
      SMTP_PROXY_DATABASE_OWNER_URL: system.ownerUrl,
      SMTP_PROXY_STORAGE_PATH: `${system.folder}/messages`,
    };
    const replayed = await runProgram("spool", ["replay"], variables, system.folder);
    assert.equal(replayed.stdout, "2 made dead letters; 1 have their rows\n", replayed.stderr);
    const again = await runProgram("spool", ["replay"], variables, system.folder);
    assert.equal(again.stdout, "0 made dead letters; 3 have their rows\n", again.stderr);

    await Promise.all([system.queueWorker.start(), system.apiServer.start()]);
    assert.deepEqual(await sendDeadLettersAgain(system), { dead: 2, sent: 2 });
    assert.ok(await until(() => Promise.resolve(sink.mails.length >= 3), 60_000));
    assert.equal(await system.queueWorker.stop(), 0);
    const subjects = sink.mails.map(({ bytes }) =>
      /Subject: (\w+)/.exec(new TextDecoder().decode(bytes))?.[1]
    );
    assert.deepEqual(subjects.sort(), ["before", "large", "small"]);
  });
});
