import assert from "node:assert/strict";
import { until } from "../../services/dev/processes.ts";
import { projectFolder } from "../../services/dev/task_command.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

async function send({ smtpPort }: TestSystem): Promise<void> {
  const words =
    "--user dev --password dev --from me@example.com --to you@example.net --insecure --host 127.0.0.1";
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "services/test-client/main.ts", ...words.split(" "), "--port", String(smtpPort)],
    cwd: projectFolder,
    stdin: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}

async function kindsOf(system: TestSystem): Promise<readonly unknown[]> {
  const rows = await rowsOf(
    system,
    "select split_part(storage_ref, ':', 1) as kind from messages order by id",
  );
  return rows.map((row) => row["kind"]);
}

Deno.test("smtp-server makes no new store where its own is not mounted, and uses that again when it is back", async () => {
  await withServices({ start: ["smtpServer"] }, async (system) => {
    const [path, away] = [`${system.folder}/messages`, `${system.folder}/away`];
    await send(system);
    await system.smtpServer.stop();
    await Deno.rename(path, away);
    await Deno.mkdir(path);
    await system.smtpServer.start();
    const isTold = async () =>
      (await system.smtpServer.log()).includes('"message":"body store is not there"');
    assert.ok(await until(isTold, 60_000));
    await send(system);
    await assert.rejects(Deno.stat(`${path}/FORMAT`), Deno.errors.NotFound);
    await Deno.remove(path, { recursive: true });
    await Deno.rename(away, path);
    await send(system);
    assert.deepEqual(await kindsOf(system), ["local", "inline", "local"]);
  });
});
