import assert from "node:assert/strict";
import { join } from "node:path";
import { programs } from "../services/compile/programs.ts";

const folder = "services/operations/systemd";
const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
const units = names.filter((name) => /\.(service|timer)$/.test(name));
const texts = new Map(units.map((name) => [name, Deno.readTextFileSync(join(folder, name))]));
const ours = units.filter((name) => texts.get(name)?.includes("/opt/smtp-proxy/current/"));
const hasSystemd = await answers("systemd-analyze", "--version");

Deno.test("the units run programs that can be built, confined and with credentials from files", () => {
  assert.deepEqual(ours, [
    "api-server.service",
    "queue-worker@.service",
    "smtp-proxy-migrate.service",
    "smtp-server@.service",
  ]);
  for (const name of ours) {
    const text = texts.get(name) ?? "";
    const program = /^ExecStart=\/opt\/smtp-proxy\/current\/([a-z-]+)/m.exec(text)?.[1];
    assert.ok(programs.some((known) => known === program), `${name} runs ${program}`);
    assert.match(text, /^User=smtp-proxy$/m);
    assert.match(text, /^ProtectSystem=strict$/m);
    assert.match(text, /^LoadCredential=/m);
    assert.doesNotMatch(text, /^Environment=\S*(PASSWORD|KEYS|KEY|URL)=/m);
    const capabilities = /^CapabilityBoundingSet=(.*)$/m.exec(text)?.[1];
    assert.equal(capabilities, name.startsWith("smtp-server") ? "CAP_NET_BIND_SERVICE" : "");
  }
});

Deno.test("the units name variables that the programs read", async () => {
  const { settingPaths, variableOf } = await import("../lib/config/settings.ts");
  const known = new Set(settingPaths.flatMap((path) => [variableOf(path), `${variableOf(path)}_FILE`]));
  for (const [name, text] of texts) {
    for (const [, variable = ""] of text.matchAll(/^Environment=(\w+)=/gm)) {
      if (!variable.startsWith("SMTP_PROXY_LOGIN_")) assert.ok(known.has(variable), `${name}: ${variable}`);
    }
  }
});

if (hasSystemd) {
  Deno.test("systemd finds the units right, and little that they are exposed to", async () => {
    const copies = await Deno.makeTempDir({ prefix: "smtp_proxy_units_" });
    try {
      for (const [name, text] of texts) {
        // What is not installed here stands in as a program that is.
        const installed = text.replaceAll(/\/opt\/smtp-proxy\/current\/[a-z-]+/g, "/bin/true");
        await Deno.writeTextFile(join(copies, name.replace("@.", "@0.")), installed);
      }
      for (const name of units.map((unit) => unit.replace("@.", "@0."))) {
        assert.equal(await systemdSays("verify", "--man=no", join(copies, name)), "", name);
      }
      for (const name of ours.map((unit) => unit.replace("@.", "@0."))) {
        await systemdSays("security", "--offline=true", "--threshold=20", "--no-pager", join(copies, name));
      }
    } finally {
      await Deno.remove(copies, { recursive: true });
    }
  });
}

/** What it complains of; throws when it ends with an error. */
async function systemdSays(...args: readonly string[]): Promise<string> {
  const { code, stderr } = await new Deno.Command("systemd-analyze", { args: [...args] }).output();
  const text = new TextDecoder().decode(stderr).trim();
  assert.equal(code, 0, `${args.join(" ")}\n${text}`);
  return text;
}

async function answers(program: string, ...args: readonly string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args: [...args], stdout: "null", stderr: "null" }).output())
      .success;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
