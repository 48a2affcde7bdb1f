import assert from "node:assert/strict";
import { join } from "node:path";
import { programs } from "../services/compile/programs.ts";
import { ensureProgram, type FoundProgram } from "./support/debian_program.ts";
import { freePort } from "./support/ports.ts";

const folder = "services/operations/systemd";
const names = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
const units = names.filter((name) => /\.(service|timer)$/.test(name));
const texts = new Map(units.map((name) => [name, Deno.readTextFileSync(join(folder, name))]));
const ours = units.filter((name) => texts.get(name)?.includes("/opt/smtp-proxy/current/"));

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

Deno.test("systemd finds the units right, and little that they are exposed to", async () => {
  const analyze = await ensureProgram({
    name: "systemd-analyze",
    packages: ["systemd", "libsystemd-shared"],
    try: ["--version"],
    howToInstall: "install systemd-analyze so that it is on PATH (Debian, Ubuntu: apt-get install systemd)",
  });
  const copies = await Deno.makeTempDir({ prefix: "smtp_proxy_units_" });
  try {
    for (const [name, text] of texts) {
      // What is not installed here stands in as a program that is.
      const installed = text.replaceAll(/\/opt\/smtp-proxy\/current\/[a-z-]+/g, "/bin/true");
      await Deno.writeTextFile(join(copies, name.replace("@.", "@0.")), installed);
    }
    for (const name of units.map((unit) => unit.replace("@.", "@0."))) {
      assert.equal(await systemdSays(analyze, "verify", "--man=no", join(copies, name)), "", name);
    }
    for (const name of ours.map((unit) => unit.replace("@.", "@0."))) {
      const words = ["security", "--offline=true", "--threshold=20", "--no-pager", join(copies, name)];
      await systemdSays(analyze, ...words);
    }
  } finally {
    await Deno.remove(copies, { recursive: true });
  }
});

/** The shell's words of a line of a unit, as systemd hands them to `sh` for the given instance. */
function shellWords(unit: string, key: string, instance: string): readonly string[] {
  const text = (texts.get(unit) ?? "").replaceAll("\\\n", "");
  const [, script = "", rest = ""] = new RegExp(`^${key}=-?/bin/sh -c '([^']*)'(.*)$`, "m").exec(text) ?? [];
  assert.notEqual(script, "", `${unit} has no ${key}`);
  const words = ["-c", script, ...rest.trim().split(" ").filter((word) => word !== "")];
  return words.map((word) => word.replaceAll("$$", "$").replaceAll("%i", instance));
}

/** Answers 503 so many times and 200 from then on. */
function slowStarter(times: number) {
  const asked: string[] = [];
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    asked.push(new URL(request.url).pathname);
    return new Response(null, { status: asked.length > times ? 200 : 503 });
  });
  return { asked, port: server.addr.port, [Symbol.asyncDispose]: () => server.shutdown() };
}

Deno.test("a unit has started when its operations port says that it is ready", async () => {
  for (const [name, text] of texts) {
    if (!ours.includes(name) || name.includes("migrate")) continue;
    const port = Number(/^Environment=SMTP_PROXY_\w+_OPS_PORT=(\d+)$/m.exec(text)?.[1]);
    const isOneOfMany = name.includes("@");
    if (isOneOfMany) assert.match(text, /^Environment=SMTP_PROXY_INSTANCE=%i$/m, name);
    await using service = slowStarter(2);
    // The same line with another port: that of an instance number which leads to the one that answers.
    const instance = String(service.port - port);
    const words = shellWords(name, "ExecStartPost", instance).map((word) =>
      isOneOfMany ? word : word.replace(`:${port}/`, `:${service.port}/`)
    );
    const { code, stderr } = await new Deno.Command("/bin/sh", { args: [...words] }).output();
    assert.equal(code, 0, new TextDecoder().decode(stderr));
    assert.deepEqual(service.asked, ["/readyz", "/readyz", "/readyz"], name);
  }
});

Deno.test("a service that does not answer is restarted, and one that does is left alone", async () => {
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_units_" });
  try {
    // What stands for systemctl notes what it was told.
    await Deno.writeTextFile(join(folder, "systemctl"), `#!/bin/sh\necho "$@" >> ${folder}/told\n`);
    await Deno.chmod(join(folder, "systemctl"), 0o755);
    await Deno.writeTextFile(join(folder, "told"), "");
    const env = { PATH: `${folder}:${Deno.env.get("PATH")}` };
    await using service = slowStarter(0);
    const cases = [["smtp-server", 9600], ["queue-worker", 9700]] as const;
    for (const [name, port] of cases) {
      for (const target of [service.port, freePort()]) {
        const words = shellWords("smtp-proxy-health@.service", "ExecStart", `${name}@${target - port}`);
        const quick = words.map((word) => word.replace("--retry-delay 5", "--retry-delay 1"));
        assert.equal((await new Deno.Command("/bin/sh", { args: quick, env }).output()).code, 0);
        const told = await Deno.readTextFile(join(folder, "told"));
        const expected = target === service.port ? "" : `try-restart ${name}@${target - port}.service\n`;
        assert.equal(told, expected);
      }
      await Deno.writeTextFile(join(folder, "told"), "");
    }
    assert.deepEqual(service.asked, ["/healthz", "/healthz"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** What it complains of; throws when it ends with an error. */
async function systemdSays({ path, env }: FoundProgram, ...args: readonly string[]): Promise<string> {
  const { code, stderr } = await new Deno.Command(path, { args: [...args], env: unitsOf(path, env) })
    .output();
  const text = new TextDecoder().decode(stderr).trim();
  assert.equal(code, 0, `${args.join(" ")}\n${text}`);
  return text;
}

/** One that was fetched and not installed finds the system's own units beside it. */
function unitsOf(path: string, env: FoundProgram["env"]): Record<string, string> {
  const root = path.replace(/\/usr\/bin\/systemd-analyze$/, "");
  return root === path
    ? { ...env }
    : { ...env, SYSTEMD_UNIT_PATH: `${root}/lib/systemd/system:${root}/usr/lib/systemd/system` };
}
