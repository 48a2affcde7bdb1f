import assert from "node:assert/strict";
import { migrations } from "../../migrations/mod.ts";
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
