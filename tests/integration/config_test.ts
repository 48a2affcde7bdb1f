import assert from "node:assert/strict";
import { exampleConfig } from "../../lib/config/document.ts";
import { loadConfig } from "../../lib/config/load.ts";
import { parseYaml } from "../../lib/config/yaml_file.ts";
import { taskArguments } from "../../services/dev/task_command.ts";

const root = new URL("../../", import.meta.url);

Deno.test("services/operations/config.yaml is what exampleConfig() writes", async () => {
  assert.equal(await Deno.readTextFile(new URL("services/operations/config.yaml", root)), exampleConfig());
});

Deno.test("exampleConfig() changes nothing when it is loaded, in either environment", () => {
  for (const environment of ["production", "development"]) {
    const env = (name: string) => name === "SMTP_PROXY_ENVIRONMENT" ? environment : undefined;
    const sources = { service: "migrate", args: [], env, parseFile: parseYaml } as const;
    const without = loadConfig({ ...sources, readFile: () => undefined }).config;
    const withFile = loadConfig({ ...sources, readFile: exampleConfig }).config;
    assert.deepEqual(withFile, without);
  }
});

Deno.test("parseYaml() tells where a file is not YAML, and of keys that are there twice", () => {
  assert.deepEqual(parseYaml("smtp:\n  port: 25\nqueue:\n"), {
    content: { smtp: { port: 25 }, queue: null },
    problems: [],
  });
  assert.match(parseYaml("smtp: {port: 25\nqueue").problems.join(), /at line \d+, column \d+/);
  assert.match(parseYaml("smtp: 1\nsmtp: 2\n").problems.join(), /unique at line 2/);
});

async function start(env: Readonly<Record<string, string>>, ...permissions: string[]) {
  const script = `
    import { configOfProcess } from ${JSON.stringify(new URL("lib/config/process_config.ts", root).href)};
    const { config, warnings } = configOfProcess("queue-worker");
    Deno.stdout.writeSync(new TextEncoder().encode(JSON.stringify({ port: config.worker.opsPort, warnings })));`;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--config=deno.json",
      "--allow-read=/etc/smtp-proxy,/data/messages",
      "--allow-write=/data/messages",
      ...permissions,
      `data:application/typescript,${encodeURIComponent(script)}`,
    ],
    cwd: root,
    env,
  }).output();
  return { code, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
}

Deno.test("configOfProcess() reads the environment with permission for our variables alone", async () => {
  const { code, stdout, stderr } = await start(
    { SMTP_PROXY_WORKER_OPS_PORT: "7001" },
    "--allow-env=SMTP_PROXY_*",
  );
  assert.equal(code, 0, stderr);
  assert.deepEqual(JSON.parse(stdout), { port: 7001, warnings: [] });
});

Deno.test("configOfProcess() warns of unknown variables when it may list them", async () => {
  const { stdout, stderr } = await start({ SMTP_PROXY_WORKER_OPS_PROT: "7001" }, "--allow-env");
  assert.deepEqual(JSON.parse(stdout || stderr).warnings, ["SMTP_PROXY_WORKER_OPS_PROT is not a setting"]);
});

Deno.test("configOfProcess() prints every mistake and exits with 2", async () => {
  const env = { SMTP_PROXY_WORKER_OPS_PORT: "x", SMTP_PROXY_QUEUE_WORKERS: "0" };
  const { code, stdout, stderr } = await start(env, "--allow-env=SMTP_PROXY_*");
  assert.equal(code, 2);
  assert.equal(stdout, "");
  assert.match(stderr, /^queue-worker: Cannot start: the configuration has 2 mistake\(s\)$/m);
  assert.match(stderr, /^- worker\.ops_port \(SMTP_PROXY_WORKER_OPS_PORT\): .*"x"$/m);
  assert.match(stderr, /^- queue\.workers \(SMTP_PROXY_QUEUE_WORKERS\): .*"0"$/m);
});

for (const task of ["smtp-server", "queue-worker", "api-server", "migrate", "seed", "seal"] as const) {
  Deno.test(`the task ${task} lets its program read a YAML file`, async () => {
    const file = await Deno.makeTempFile({ suffix: ".yaml" });
    try {
      await Deno.writeTextFile(file, "worker:\n  ops_port: 7002\n");
      const env = taskArguments(task, ".data").filter((word) => word.startsWith("--allow-env="));
      const given = { SMTP_PROXY_CONFIG: file };
      const { code, stdout, stderr } = await start(given, ...env, `--allow-read=${file}`);
      assert.equal(code, 0, stderr);
      assert.equal(JSON.parse(stdout).port, 7002);
    } finally {
      await Deno.remove(file);
    }
  });
}
