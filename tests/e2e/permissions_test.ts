import assert from "node:assert/strict";
import project from "../../deno.json" with { type: "json" };
import { until } from "../../services/dev/processes.ts";
import { projectFolder } from "../../services/dev/task_command.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";
import { submitMail } from "../support/submit_mail.ts";

/** What a program may that others may not: the test client attaches any file, `apply` takes secrets from files and variables of any name. */
const exceptions: Readonly<Record<string, readonly string[]>> = {
  "client": ["read", "list", "read its own program"],
  "apply": ["read", "list", "read its own program", "environment", "whole environment"],
};
const tasks = [
  "smtp-server",
  "queue-worker",
  "api-server",
  "migrate",
  "seed",
  "admin",
  "seal",
  "apply",
  "spool",
  "client",
] as const;

for (const task of tasks) {
  Deno.test(`${task} is refused what its work does not need`, async () => {
    const words = project.tasks[task].split(" ").slice(1, -1);
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [...words, "tests/support/forbidden.ts"],
      cwd: projectFolder,
      stdin: "null",
    }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.deepEqual(JSON.parse(new TextDecoder().decode(stdout)), exceptions[task] ?? []);
  });
}

Deno.test("services do all their work with the permissions of their tasks, and ask for no more", async () => {
  const provider = { name: "files", "provider_type": "file", "smtp_config": { folder: "mail" } };
  await withServices({ provider }, async (system) => {
    const services = [system.smtpServer, system.queueWorker, system.apiServer];
    for (const service of services) {
      await service.stop();
      // Files are another kind of work, in another folder.
      await service.start({
        SMTP_PROXY_ESP_FILE_FOLDER: `${system.folder}/mail`,
        SMTP_PROXY_LOGGING_OUTPUT: "file",
        SMTP_PROXY_LOGGING_FILE_PATH: `${system.folder}/log/smtp-proxy.log`,
      });
    }
    const ids = [await submit(system, 1000), await submit(system, 2_000_000)];
    assert.ok(
      await until(async () => (await statuses(system)).every((status) => status === "delivered"), 60_000),
      String(await statuses(system)),
    );
    const token = await login(system);
    for (const id of ids) assert.equal(await readRaw(system, token, id), 200);
    for (const service of services) assert.equal(await service.stop(), 0);
    const logs = [...Deno.readDirSync(`${system.folder}/log`)].map(({ name }) =>
      `${system.folder}/log/${name}`
    );
    assert.ok(logs.length >= services.length);
    const said = [
      ...logs.map((file) => Deno.readTextFileSync(file)),
      ...await Promise.all(services.map((s) => s.log())),
    ];
    assert.doesNotMatch(said.join("\n"), /NotCapable|Requires \w+ access/);
  });
});

async function submit(system: TestSystem, bytes: number): Promise<string> {
  const text = `From: me@example.com\r\nSubject: ${bytes}\r\n\r\n${
    "0123456789abcdef\r\n".repeat(bytes / 18)
  }`;
  return await submitMail(system, text);
}

async function statuses(system: TestSystem): Promise<readonly unknown[]> {
  return (await rowsOf(system, "select status from messages")).map((row) => row["status"]);
}

async function login(system: TestSystem): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${system.apiPort}/api/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ email: "admin@localhost", password: "admin" }),
  });
  const { access_token: token } = await response.json() as { readonly access_token: string };
  return token;
}

async function readRaw(system: TestSystem, token: string, id: string): Promise<number> {
  const [group] = await rowsOf(system, "select id from groups where name = 'dev-company'");
  const response = await fetch(`http://127.0.0.1:${system.apiPort}/api/v1/messages/${id}/raw`, {
    headers: { authorization: `Bearer ${token}`, "x-group-id": String(group?.["id"]) },
  });
  await response.body?.cancel();
  return response.status;
}
