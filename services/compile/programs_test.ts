import assert from "node:assert/strict";
import { compileArguments, pathsOf, programs } from "./programs.ts";

const task =
  "deno run --no-prompt --allow-net --allow-env=A_*,B --allow-read=/etc/smtp-proxy,/data,lib/x.ts " +
  "--allow-write=/data services/api-server/main.ts";
const nothing = { read: [], write: [] };

Deno.test("compileArguments() promises a task's permissions, with the layout's paths in place of its own", () => {
  const words = compileArguments({ program: "api-server", ...nothing }, task, "/tmp/variables");
  assert.ok(
    words.includes("--no-prompt") && words.includes("--allow-net") && words.includes("--allow-env=A_*,B"),
  );
  assert.deepEqual(words.filter((word) => /^--allow-(read|write)/.test(word)), [
    "--allow-read=/etc/smtp-proxy,/run/secrets,/var/run/secrets,/run/credentials,/var/lib/smtp-proxy," +
    "/var/log/smtp-proxy,lib/x.ts",
    "--allow-write=/var/lib/smtp-proxy,/var/log/smtp-proxy",
  ]);
  assert.deepEqual(words.slice(-3), ["--output", "dist/api-server", "services/api-server/main.ts"]);
});

Deno.test("compileArguments() promises that a thread's file is carried", () => {
  const words = compileArguments({ program: "api-server", ...nothing }, task, "/tmp/variables");
  assert.equal(words[words.indexOf("--include") + 1], "lib/x.ts");
});

Deno.test("compileArguments() promises that folders that are left out are not carried", () => {
  const build = { program: "seal", leftOut: ["/cache/a/test"], ...nothing } as const;
  const words = compileArguments(build, task, "/tmp/variables");
  assert.equal(words[words.indexOf("--exclude") + 1], "/cache/a/test");
});

Deno.test("compileArguments() promises a folder for each target", () => {
  const target = "aarch64-apple-darwin";
  const words = compileArguments({ program: "seal", target, ...nothing }, task, "/tmp/variables");
  assert.equal(words[words.indexOf("--target") + 1], target);
  assert.equal(words[words.indexOf("--output") + 1], "dist/aarch64-apple-darwin/seal");
});

Deno.test("compileArguments() promises to build no program that may do everything", () => {
  const build = { program: "seal", ...nothing } as const;
  assert.throws(() => compileArguments(build, "deno run -A services/seal/main.ts", "/tmp/v"), /its task is/);
});

Deno.test("pathsOf() promises the paths asked for, to be written only by programs that write", () => {
  const own = { read: ["/srv/tls"], write: ["/srv/mail"] };
  assert.ok(pathsOf(task, own).write.includes("/srv/mail"));
  assert.ok(pathsOf(task, own).read.includes("/srv/mail"));
  const reading = pathsOf("deno run --allow-read=/etc services/seed/main.ts", own);
  assert.deepEqual(reading.write, []);
  assert.ok(reading.read.includes("/srv/tls") && reading.read.includes("/srv/mail"));
  assert.ok(!reading.read.includes("/var/lib/smtp-proxy"));
});

Deno.test("pathsOf() promises the folder of bodies to a program that only reads them", () => {
  const { read, write } = pathsOf(
    "deno run --allow-read=/etc,/data/messages services/spool/main.ts",
    nothing,
  );
  assert.ok(read.includes("/var/lib/smtp-proxy"));
  assert.deepEqual(write, []);
});

Deno.test("compileArguments() promises that addresses confine smtp-server and api-server, and nothing else", () => {
  const task = "deno run --no-prompt --allow-net services/x/main.ts";
  for (const program of programs) {
    const words = compileArguments(
      { program, read: [], write: [], net: ["0.0.0.0:587", "db:5432"] },
      task,
      "/v",
    );
    const isConfined = program === "smtp-server" || program === "api-server";
    assert.ok(words.includes(isConfined ? "--allow-net=0.0.0.0:587,db:5432" : "--allow-net"), program);
  }
});
