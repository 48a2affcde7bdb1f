// The commands that the README gives are run as they stand there, but for ports and folders.
import assert from "node:assert/strict";
import process from "node:process";
import { newKeyText } from "../../lib/secrets/seal.ts";
import { until } from "../../services/dev/processes.ts";
import { projectFolder } from "../../services/dev/task_command.ts";
import { ensureProgram } from "../support/debian_program.ts";
import { type DevPlace, devPlace, type DevRun, startDev } from "../support/dev_process.ts";
import { basicVariables } from "../support/run_program.ts";
import { SmtpSink } from "../support/smtp_sink.ts";
import { withServices } from "../support/spawn_services.ts";
import { loginUrl } from "../support/test_server.ts";

interface Block {
  readonly heading: string;
  readonly language: string;
  readonly text: string;
}

/** Blocks that no test runs, by how they begin, and why. */
const notRun: Readonly<Record<string, string>> = {
  "npx -y deno@2.9.6 task test": "it is what runs this",
  "NO_PROXY=": "a variable, no command",
  "docker compose up": "needs a container engine; tests/containers_test.ts looks at what it reads",
  "npx -y deno@2.9.6 task compile":
    "needs the base runtime; tests/integration/compile_program_test.ts runs it without",
  "cp services/operations/systemd": "installs; tests/systemd_test.ts has systemd look at the units",
  "date -u": "needs PostgreSQL's own tools and a host's folders",
  "rsync --archive backup": "likewise; tests/integration/migrate_hold_test.ts runs what is ours of it",
};

const blocks = blocksOf(await Deno.readTextFile(`${projectFolder}README.md`));
const commands = blocks.filter(({ text }) => !Object.keys(notRun).some((start) => text.startsWith(start)));
const [start, firstMail, startWithRelay] = ofHeading("Run it");
const operators = commands.filter(({ text }) => /task (seed|admin|apply) /.test(text));
const walk = ["The API by example", "Routing rules"].flatMap(ofHeading).filter((block) =>
  !operators.includes(block)
);

function blocksOf(text: string): readonly Block[] {
  let heading = "";
  return text.split(/^(?=#+ |```)/m).flatMap((part, index, parts) => {
    if (part.startsWith("#")) heading = /^#+ (.*)$/m.exec(part)?.[1] ?? "";
    const opened = parts.slice(0, index).filter((other) => other.startsWith("```")).length % 2 === 0;
    if (!part.startsWith("```") || !opened) return [];
    const [first = "", ...lines] = part.split("\n");
    return [{ heading, language: first.slice(3), text: lines.join("\n").trim() }];
  });
}

function ofHeading(heading: string): readonly Block[] {
  return commands.filter((block) => block.heading === heading && block.language === "sh");
}

/** Ends at the first command that fails; answers of the API that tell of a mistake are failures. */
const preamble = `
set -euo pipefail
curl() { command curl --fail-with-body "$@"; }
npx() { (cd "$PROJECT" && command npx "$@"); }
`;

/** Where a person waits a second, a slow machine may need longer. */
const untilDead =
  "for _ in {1..60}; do api -G $API/dlq | jq -e '.items[0]' > dead.json && break; sleep 1; done";

/** Runs a script in a folder of its own; throws with all it said when it fails. */
async function bash(script: string, env: Readonly<Record<string, string>> = {}): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "smtp_proxy_readme_" });
  try {
    const { code, stdout, stderr } = await new Deno.Command("bash", {
      args: ["-c", `${preamble}\n${script}`],
      cwd: folder,
      env: { ...basicVariables(), ...env, PROJECT: projectFolder },
      clearEnv: true,
      stdin: "null",
    }).output();
    const said = new TextDecoder().decode(stdout);
    assert.equal(code, 0, `${said}\n${new TextDecoder().decode(stderr)}`);
    return said;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The README's ports are those that \`dev\` has by itself. */
function withPorts(text: string, { ports }: DevPlace): string {
  return text.replaceAll("--port 2587", `--port ${ports["SMTP_PROXY_SMTP_PORT"]}`)
    .replaceAll("127.0.0.1:8080", `127.0.0.1:${ports["SMTP_PROXY_API_PORT"]}`);
}

async function end(dev: DevRun): Promise<void> {
  process.kill(dev.pid, "SIGTERM");
  await dev.silent;
  await dev.ended;
}

Deno.test("every command of the README is run by a test, or is one of a few that cannot be", () => {
  assert.equal(Object.keys(notRun).length, 7);
  for (const start of Object.keys(notRun)) {
    assert.equal(blocks.filter(({ text }) => text.startsWith(start)).length, 1, start);
  }
  const unknown = commands.filter((block) =>
    block.language === "sh" && block.heading !== "Run it" && !walk.includes(block) &&
    !operators.includes(block)
  );
  assert.deepEqual(unknown.map(({ text }) => text), []);
  assert.equal(ofHeading("Run it").length, 3);
  // A picture, not commands.
  assert.deepEqual(blocks.filter(({ language }) => language !== "sh").map(({ language }) => language), [""]);
});

Deno.test("the README's first steps, its API by example and its routing rules work as they are written", async () => {
  await using place = await devPlace();
  assert.equal(start?.text, "npx -y deno@2.9.6 task dev");
  const dev = await startDev(place, "npx");
  await dev.ready;
  await bash(withPorts(firstMail?.text ?? "", place));

  const jq = await ensureProgram({
    name: "jq",
    packages: ["jq"],
    try: ["--version"],
    howToInstall: "install jq so that it is on PATH",
  });
  const path = jq.path === "jq" ? {} : {
    PATH: `${jq.path.slice(0, -3)}:${Deno.env.get("PATH")}`,
    ...jq.env,
  };
  // What was delivered already cannot be cancelled; the README says so.
  const script = walk.map(({ text }) =>
    withPorts(text, place).replace(/\/cancel$/m, "$& || test $? = 22").replace(/^sleep 1$/m, untilDead)
  );
  for (const replaced of ["|| test $? = 22", untilDead]) assert.ok(script.join().includes(replaced));
  const said = await bash(script.join("\n"), path);
  assert.match(said, /"email":"admin@localhost"/);
  assert.match(said, /"failure_code":"refused"/);
  assert.match(said, /"decided": true/);
  await end(dev);

  await using sink = await SmtpSink.open();
  const variable = /^SMTP_PROXY_DEV_PROVIDER='([^']*)' \\\n {2}(.*)$/.exec(startWithRelay?.text ?? "");
  assert.equal(variable?.[2], start.text);
  const provider = variable?.[1]?.replace("1025", String(sink.port)) ?? "";
  assert.ok(provider.includes(String(sink.port)));
  await using other = await devPlace();
  const withRelay = await startDev(other, "npx", {
    SMTP_PROXY_DEV_PROVIDER: provider,
    SMTP_PROXY_ESP_ALLOWED_PORTS: String(sink.port),
  });
  await withRelay.ready;
  await bash(withPorts(firstMail?.text ?? "", other));
  assert.ok(await until(() => sink.mails.length === 1, 60_000), withRelay.output());
  await end(withRelay);
});

Deno.test("the README's commands for operators work as they are written", async () => {
  const settings = { SMTP_PROXY_SECRETS_KEYS: newKeyText("readme") };
  // It makes the administrator whose password is forgotten.
  await withServices({ start: ["apiServer"], env: settings }, async ({ ownerUrl }) => {
    const url = loginUrl(ownerUrl, "api_server");
    const env = { ...settings, SMTP_PROXY_ENVIRONMENT: "development", SMTP_PROXY_DATABASE_URL: url };
    assert.equal(operators.length, 3);
    for (const { text } of operators) {
      // What everybody has another one of.
      const said = await bash(text.replace("postgres://…", url).replaceAll("…", "long-and-secret"), env);
      assert.notEqual(said, "", text);
    }
  });
});
