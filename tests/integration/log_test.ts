import assert from "node:assert/strict";
import type { LogOptions } from "../../lib/telemetry/log.ts";
import { openLog } from "../../lib/telemetry/log.ts";
import { until } from "../../services/dev/processes.ts";

const base: Omit<LogOptions, "filePath"> = {
  service: "smtp-server",
  instance: 2,
  level: "info",
  format: "json",
  output: "file",
  maxSizeMb: 1,
  maxFiles: 3,
  cwGroup: "",
  cwStream: "",
  cwRegion: "",
  cwEndpoint: "",
  redactAddresses: false,
};

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await work(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("openLog() writes every line as JSON with its sentence, service, fields and time", () =>
  withFolder(async (folder) => {
    {
      await using log = await openLog({ ...base, filePath: `${folder}/logs/smtp-proxy.log` });
      log.debug("not written at this level");
      log.with({ correlationId: "c-1" }).info("message accepted", { size: 12 });
      log.error("store failed", { error: new Error("disk gone") });
    }
    const text = await Deno.readTextFile(`${folder}/logs/smtp-proxy-smtp-server-2.1.log`);
    const [first, second, ...others] = text.trimEnd().split("\n").map((line) => JSON.parse(line));
    assert.equal(others.length, 0);
    assert.match(first.time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    delete first.time;
    assert.deepEqual(first, {
      level: "info",
      service: "smtp-server",
      instance: 2,
      correlationId: "c-1",
      size: 12,
      message: "message accepted",
    });
    assert.equal(second.level, "error");
    assert.equal(second.error.message, "disk gone");
    assert.match(second.error.stack, /log_test/);
  }));

Deno.test("openLog() changes its level for all logs made from it, and leaves addresses out where it is told to", () =>
  withFolder(async (folder) => {
    {
      await using log = await openLog({ ...base, redactAddresses: true, filePath: `${folder}/a.log` });
      const session = log.with({ remoteAddress: "192.0.2.7" });
      session.debug("not yet");
      log.setLevel("debug");
      session.debug("now", {
        username: "ann@example.com",
        error: new Error("550 <bob@example.org> unknown"),
      });
      log.setLevel("error");
      session.warn("no more");
    }
    const text = await Deno.readTextFile(`${folder}/a-smtp-server-2.1.log`);
    assert.equal(text.trimEnd().split("\n").length, 1, text);
    assert.match(text, /"username":"\*\*\*@example\.com"/);
    assert.match(text, /550 <\*\*\*@example\.org> unknown/);
    assert.doesNotMatch(text, /ann|bob|192\.0/);
  }));

function fileNames(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map((entry) => entry.name).sort();
}

Deno.test("openLog() keeps as many rotated files as it is told, also those of an earlier run", () =>
  withFolder(async (folder) => {
    for (let run = 0; run < 3; run++) {
      await using log = await openLog({ ...base, filePath: `${folder}/a.log` });
      for (let part = 0; part < 4; part++) {
        const before = fileNames(folder).join();
        for (let line = 0; line < 1200; line++) log.info("filling", { detail: "y".repeat(1000) });
        // A file is changed for the next one when nothing waits to be written.
        while (fileNames(folder).join() === before) await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    // What is too old is removed beside the writing, and nobody is told of its end.
    const isEnough = () => fileNames(folder).length <= 3;
    assert.ok(await until(isEnough, 60_000), fileNames(folder).join(" "));
    assert.ok(fileNames(folder).length > 1);
  }));

Deno.test("openLog() refuses a file that cannot be opened", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(`${folder}/taken`, "");
    await assert.rejects(openLog({ ...base, filePath: `${folder}/taken/a.log` }));
  }));

Deno.test("openLog() drops lines after it was disposed instead of failing their caller", () =>
  withFolder(async (folder) => {
    const log = await openLog({ ...base, filePath: `${folder}/a.log` });
    await log[Symbol.asyncDispose]();
    log.info("too late");
    await log[Symbol.asyncDispose]();
  }));

Deno.test("openLog() writes to standard output, also what was logged right before Deno.exit", async () => {
  const script = `
    import { openLog } from ${JSON.stringify(import.meta.resolve("../../lib/telemetry/log.ts"))};
    const log = await openLog(${JSON.stringify({ ...base, output: "stdout", format: "text", filePath: "" })});
    for (let line = 0; line < 2000; line++) log.info("counting", { count: line });
    log.warn("last words", { reason: "test" });
    Deno.exit(7);`;
  const permissions = [
    "--no-prompt",
    "--config=deno.json",
    "--allow-env=NODE_V8_COVERAGE",
    "--allow-sys=hostname",
  ];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", ...permissions, `data:application/typescript,${encodeURIComponent(script)}`],
    cwd: new URL("../..", import.meta.url),
  }).output();
  assert.equal(code, 7, new TextDecoder().decode(stderr));
  const lines = new TextDecoder().decode(stdout).trimEnd().split("\n");
  assert.equal(lines.length, 2001);
  assert.match(lines[2000] ?? "", / WARN {2}last words service="smtp-server" instance=2 reason="test"$/);
});
