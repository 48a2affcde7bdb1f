import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { sinkCertificate } from "../support/sink_certificate.ts";
import { SmtpSink } from "../support/smtp_sink.ts";

const base = ["--from=a@example.com", "--to=b@example.org", "--host=127.0.0.1"];

Deno.test("test client: sends one mail by STARTTLS with a login", async () => {
  await using sink = await SmtpSink.open({
    tls: sinkCertificate,
    auth: { username: "dev", password: "dev" },
  });
  const run = await runClient([...base, `--port=${sink.port}`, "--insecure", "--user=dev", "--password=dev"]);
  assert.equal(run.code, 0, run.errors);
  assert.match(run.output, /^\[1\/1\] OK \([\d.]+m?s\)$/m);
  assert.match(run.output, /^Results: 1 sent, 0 failed, total time \S+$/m);
  assert.doesNotMatch(run.output + run.errors, /password/i);
  const [mail] = sink.mails;
  assert.deepEqual([mail?.isSecure, mail?.user, mail?.to], [true, "dev", ["<b@example.org>"]]);
  assert.match(Buffer.from(mail?.bytes ?? []).toString(), /\r\nSubject: Test Email\r\n/);
});

Deno.test("test client: refuses a certificate that is not valid, implicit TLS and STARTTLS alike", async () => {
  for (const isImplicit of [false, true]) {
    await using sink = await SmtpSink.open({ tls: { ...sinkCertificate, isImplicit } });
    const run = await runClient([
      ...base,
      `--port=${sink.port}`,
      `--tls=${isImplicit ? "implicit" : "starttls"}`,
    ]);
    assert.equal(run.code, 1);
    assert.match(run.output, /^\[1\/1\] FAIL \([\d.]+m?s\): TLS failed: /m);
    assert.match(run.output, /^Results: 0 sent, 1 failed, /m);
    assert.equal(sink.mails.length, 0);
  }
});

Deno.test("test client: sends several to several, with alternatives and attachments, by implicit TLS", async () => {
  await using sink = await SmtpSink.open({ tls: { ...sinkCertificate, isImplicit: true } });
  const file = await Deno.makeTempFile({ suffix: ".txt" });
  try {
    await Deno.writeTextFile(file, "attached\n");
    const run = await runClient([
      ...base,
      "--to",
      "c@example.org",
      "--tls=implicit",
      "--insecure=true",
      "--html=<h1>Hello</h1>",
      "--attach",
      file,
      "--count=3",
      "--rate=1000",
      `--port=${sink.port}`,
    ]);
    assert.equal(run.code, 0, run.errors);
    assert.match(run.output, /^\[1\/3\] OK .*\n\[2\/3\] OK .*\n\[3\/3\] OK /m);
    assert.match(run.errors, /^Progress: 3 of 3, [\d.]+ a second$/m);
  } finally {
    await Deno.remove(file);
  }
  assert.deepEqual(sink.mails.map(({ to }) => to.length), [2, 2, 2]);
  assert.equal(sink.connections, 3);
  const text = Buffer.from(sink.mails[1]?.bytes ?? []).toString();
  assert.match(text, /^Subject: Test Email \[2\/3\]\r$/m);
  assert.match(text, /-- Email 2 of 3 --/);
  assert.match(text, /^Content-Type: multipart\/mixed;/m);
  assert.match(text, /^Content-Type: multipart\/alternative;/m);
  assert.ok(text.includes(Buffer.from("attached\n").toString("base64")));
});

Deno.test("test client: logs in without TLS when --tls=none says so, and tells a wrong password", async () => {
  await using sink = await SmtpSink.open({ auth: { username: "dev", password: "dev" } });
  const login = [...base, `--port=${sink.port}`, "--tls=none", "--user=dev"];
  assert.equal((await runClient([...login, "--password=dev"])).code, 0);
  const wrong = await runClient([...login, "--password=other"]);
  assert.equal(wrong.code, 1);
  assert.match(wrong.output, /FAIL \([\d.]+m?s\): The server refuses the credentials: 535 5\.7\.8/);
});

Deno.test("test client: counts a mail as failed when one recipient is refused", async () => {
  await using sink = await SmtpSink.open({
    script: ({ at, argument }) =>
      at === "RCPT" && argument.includes("no@") ? { reply: "550 5.1.1 unknown" } : undefined,
  });
  const run = await runClient([...base, "--to=no@example.org", `--port=${sink.port}`, "--tls=none"]);
  assert.equal(run.code, 1);
  assert.match(run.output, /FAIL .*: no@example\.org: 550 5\.1\.1 unknown/);
});

Deno.test("test client: a wrong call ends with 2, the mistakes and the usage; help with 0", async () => {
  const wrong = await runClient(["--to=b@example.org", "--port=x"]);
  assert.equal(wrong.code, 2);
  assert.match(wrong.errors, /Error: Cannot read --port.*\nError: --from is required\n\nUsage: /);
  const missing = await runClient([...base, "--attach=/no/such/file"]);
  assert.equal(missing.code, 2);
  assert.match(missing.errors, /Cannot read attachment/);
  const help = await runClient(["--help"]);
  assert.equal(help.code, 0);
  assert.match(help.output, /^Usage: /);
});

Deno.test("test client: takes its defaults from the environment", async () => {
  await using sink = await SmtpSink.open();
  const run = await runClient([], {
    SMTP_PROXY_TEST_HOST: "localhost",
    SMTP_PROXY_TEST_PORT: String(sink.port),
    SMTP_PROXY_TEST_TLS: "none",
    SMTP_PROXY_TEST_FROM: "a@example.com",
    SMTP_PROXY_TEST_TO: "b@example.org,c@example.org",
  });
  assert.equal(run.code, 0, run.errors);
  assert.deepEqual(sink.mails.map(({ to }) => to), [["<b@example.org>", "<c@example.org>"]]);
});

async function runClient(args: readonly string[], env: Record<string, string> = {}) {
  const permissions = ["--no-prompt", "--allow-net", "--allow-read", "--allow-env=SMTP_PROXY_TEST_*"];
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-check", ...permissions, "services/test-client/main.ts", ...args],
    env,
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}
