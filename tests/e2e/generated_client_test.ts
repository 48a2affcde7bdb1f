import assert from "node:assert/strict";
import { join } from "node:path";
import generateTypes, { astToString } from "openapi-typescript";
import { projectFolder } from "../../services/dev/task_command.ts";
import { withServices } from "../support/spawn_services.ts";

Deno.test("a client generated from /openapi.json compiles, makes the documented calls, and knows wrong ones", async () => {
  await withServices({ start: ["apiServer"] }, async (system) => {
    const origin = `http://127.0.0.1:${system.apiPort}`;
    const folder = join(system.folder, "client");
    await Deno.mkdir(folder);
    const document = await (await fetch(`${origin}/openapi.json`)).json();
    assert.match(document.openapi, /^3\.1\./);
    // The generator reads it as OpenAPI 3.1 and throws where it is none.
    await Deno.writeTextFile(join(folder, "schema.d.ts"), astToString(await generateTypes(document)));
    const support = join(projectFolder, "tests/support");
    const calls = (await Deno.readTextFile(join(support, "generated_client.txt")))
      .replace("./api_client.ts", `file://${support}/api_client.ts`);
    const program = join(folder, "calls.ts");
    await Deno.writeTextFile(program, calls);
    const checked = await deno("check", program);
    assert.equal(checked.code, 0, checked.said);
    const ran = await deno("run", "--no-prompt", "--allow-net", program, origin);
    assert.equal(ran.code, 0, ran.said);

    const wrong = join(folder, "wrong.ts");
    await Deno.writeTextFile(wrong, calls.replace("monthly_limit: 5", 'monthly_limit: "five"'));
    const refused = await deno("check", wrong);
    assert.notEqual(refused.code, 0);
    assert.match(refused.said, /'string' is not assignable to type 'number/);
  });
});

async function deno(command: string, ...rest: readonly string[]) {
  const config = join(projectFolder, "deno.json");
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [command, "--config", config, ...rest],
    env: { NO_COLOR: "1" },
    stdin: "null",
  }).output();
  const said = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("\n");
  return { code, said };
}
