import assert from "node:assert/strict";
import { parseFlags, usage } from "./flags.ts";

Deno.test("parseFlags() reads --flag value and --flag=value, and repeats to and attach", () => {
  const parsed = parse(
    "--from",
    "a@b.example",
    "--to=c@d.example",
    "--to",
    "e=f@d.example",
    "--attach=x",
    "--rate=2.5",
  );
  assert.equal(parsed.kind, "send");
  if (parsed.kind !== "send") return;
  assert.deepEqual(parsed.settings, {
    host: "localhost",
    port: 587,
    tls: "starttls",
    insecure: false,
    user: "",
    password: "",
    from: "a@b.example",
    to: ["c@d.example", "e=f@d.example"],
    subject: "Test Email",
    body: "This is a test email sent by smtp-proxy test-client.",
    html: "",
    attach: ["x"],
    count: 1,
    rate: 2.5,
  });
});

Deno.test("parseFlags() takes defaults from variables, and flags before variables", () => {
  const variables: Record<string, string> = {
    SMTP_PROXY_TEST_FROM: "v@b.example",
    SMTP_PROXY_TEST_TO: "c@d.example, e@d.example",
    SMTP_PROXY_TEST_PORT: "2587",
    SMTP_PROXY_TEST_INSECURE: "true",
    SMTP_PROXY_TEST_TLS: "none",
    SMTP_PROXY_TEST_HOST: "mail.example",
    SMTP_PROXY_TEST_USER: "",
  };
  const parsed = parseFlags(["--port=25"], (name) => variables[name]);
  assert.ok(parsed.kind === "send");
  const { from, to, port, insecure, tls, host, user } = parsed.settings;
  assert.deepEqual({ from, to, port, insecure, tls, host, user }, {
    from: "v@b.example",
    to: ["c@d.example", "e@d.example"],
    port: 25,
    insecure: true,
    tls: "none",
    host: "mail.example",
    user: "",
  });
});

Deno.test("parseFlags() names every mistake at once", () => {
  const parsed = parse(
    "--port=0",
    "--tls",
    "ssl",
    "--count=1.5",
    "--rate=0",
    "--insecure=maybe",
    "stray",
    "--bogus",
    "--to",
  );
  assert.ok(parsed.kind === "wrong");
  assert.deepEqual(parsed.mistakes, [
    'Unknown argument: "stray"',
    'Unknown argument: "--bogus"',
    "Cannot read --to: its value is missing",
    'Cannot read --port: a number from 1 to 65535 is wanted, it is "0"',
    'Cannot read --tls: starttls, implicit, none is wanted, it is "ssl"',
    'Cannot read --insecure: false, true is wanted, it is "maybe"',
    "--from is required",
    "--to is required",
    'Cannot read --count: a whole number from 1 is wanted, it is "1.5"',
    'Cannot read --rate: a number above 0 is wanted, it is "0"',
  ]);
});

Deno.test("parseFlags() puts help before everything else", () => {
  assert.equal(parse("--bogus", "--help").kind, "help");
});

Deno.test("usage() names every flag", () => {
  const names = [
    "host",
    "port",
    "tls",
    "insecure",
    "user",
    "password",
    "from",
    "to",
    "subject",
    "body",
    "html",
  ];
  for (const name of [...names, "attach", "count", "rate", "help"]) {
    assert.match(usage(), new RegExp(`--${name} `));
  }
});

function parse(...args: readonly string[]) {
  return parseFlags(args, () => undefined);
}
