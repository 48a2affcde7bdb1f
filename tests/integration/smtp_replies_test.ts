import assert from "node:assert/strict";
import { Refusal, type SubmissionRefusalCode } from "../../lib/refusal.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import {
  protocolReplies,
  type ProtocolReply,
  refusalReplies,
  type Reply,
} from "../../services/smtp-server/replies.ts";
import { openStage, plainToken, type Stage, type StageOptions, type Wire } from "../support/smtp_wire.ts";

type Row = SubmissionRefusalCode | ProtocolReply;

interface Scene {
  readonly row: Row;
  readonly options?: StageOptions;
  /** Says what provokes the row and gives its reply. */
  play(stage: Stage, wire: Wire): Promise<string>;
}

const message = "From: a@example.com\r\nSubject: x\r\n\r\nhello\r\n.";

async function toRcpt(stage: Stage): Promise<Wire> {
  const wire = await stage.login();
  await wire.ask("MAIL FROM:<a@example.com>");
  return wire;
}

async function toData(stage: Stage): Promise<Wire> {
  const wire = await toRcpt(stage);
  await wire.ask("RCPT TO:<b@example.org>");
  return wire;
}

async function give(stage: Stage, text: string): Promise<string> {
  await using wire = await toData(stage);
  await wire.ask("DATA");
  return await wire.ask(text);
}

/** A row that the intake's refusal brings about. */
function whenAccepting(row: SubmissionRefusalCode): Scene {
  return {
    row,
    play: async (stage) => {
      stage.intake.accept = () => Promise.reject(new Refusal(row, "Cannot be done"));
      return await give(stage, message);
    },
  };
}

/** A row that one command on an authenticated connection brings about. */
function afterLogin(row: Row, ...commands: readonly string[]): Scene {
  return {
    row,
    play: async (stage) => {
      await using wire = await stage.login();
      let reply = "";
      for (const command of commands) reply = await wire.ask(command);
      return reply;
    },
  };
}

/** A row that the commands bring about on a connection that has only been greeted. */
function atOnce(row: Row, ...commands: readonly string[]): Scene {
  return {
    row,
    play: async (_stage, wire) => {
      let reply = await wire.reply();
      for (const command of commands) reply = await wire.ask(command);
      return reply;
    },
  };
}

const certificate = await selfSignedCertificate(new Date(), "host.test");

const scenes: readonly Scene[] = [
  atOnce("greeting"),
  atOnce("hello", "EHLO client.test"),
  atOnce("hello", "HELO client.test"),
  atOnce("ok", "NOOP"),
  afterLogin("ok", "MAIL FROM:<a@example.com>", "RSET"),
  atOnce("help", "HELP"),
  atOnce("cannot_verify", "VRFY a@example.com"),
  atOnce("bye", "QUIT"),
  { ...atOnce("start_tls", "EHLO x", "STARTTLS"), options: { tls: "starttls", certificate } },
  atOnce("challenge", "EHLO x", "AUTH LOGIN"),
  atOnce("challenge", "EHLO x", "AUTH PLAIN"),
  atOnce("authenticated", "EHLO x", `AUTH PLAIN ${plainToken("user", "secret")}`),
  afterLogin("sender_ok", "MAIL FROM:<a@example.com>"),
  afterLogin("sender_ok", "MAIL FROM:<>"),
  afterLogin("recipient_ok", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>"),
  afterLogin("send_data", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA"),
  { row: "queued", play: (stage) => give(stage, message) },
  {
    row: "line_invalid",
    play: async (_stage, wire) => {
      await wire.reply();
      await wire.send("NOOP\n");
      return await wire.reply();
    },
  },
  atOnce("line_invalid", "NO\0OP"),
  atOnce("line_invalid", "NOOP\rNOOP"),
  atOnce("line_too_long", `NOOP ${"x".repeat(3000)}`),
  atOnce("line_too_long", `NOOP ${"x".repeat(13_000)}`),
  atOnce("token_too_long", "EHLO x", "AUTH PLAIN", "A".repeat(12_400)),
  atOnce("command_unknown", "FOO"),
  atOnce("command_unknown", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2"),
  ...["EXPN x", "WIZ", "SHELL", "KILL", "BDAT 3", "ETRN x", "XCLIENT ADDR=1.2.3.4", "STARTTLS"]
    .map((command) => atOnce("command_not_implemented", command)),
  afterLogin("arguments_invalid", "MAIL FROM:a@example.com"),
  afterLogin("arguments_invalid", "MAIL FROM:<a@example.com> SIZE=x"),
  afterLogin("arguments_invalid", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org> NOTIFY=MAYBE"),
  afterLogin("arguments_invalid", "MAIL FROM:<a@example.com>", "RCPT TO:<b@example.org>", "DATA now"),
  atOnce("arguments_invalid", "VRFY"),
  atOnce("arguments_invalid", "EHLO x", "AUTH"),
  { ...atOnce("arguments_invalid", "STARTTLS now"), options: { tls: "starttls", certificate } },
  atOnce("base64_invalid", "EHLO x", "AUTH PLAIN %%%"),
  atOnce("base64_invalid", "EHLO x", "AUTH LOGIN", "dX!lcg"),
  atOnce("authentication_cancelled", "EHLO x", "AUTH LOGIN", "*"),
  atOnce("authentication_cancelled", "EHLO x", "AUTH LOGIN", "dXNlcg==", "*"),
  atOnce("authentication_cancelled", "EHLO x", "AUTH PLAIN", "*"),
  atOnce("mechanism_unknown", "EHLO x", "AUTH CRAM-MD5"),
  atOnce("mechanism_unknown", "EHLO x", "AUTH XOAUTH2 abc"),
  afterLogin("parameter_unknown", "MAIL FROM:<a@example.com> FOO=1"),
  afterLogin("sequence_wrong", "RCPT TO:<b@example.org>"),
  afterLogin("sequence_wrong", "DATA"),
  afterLogin("sequence_wrong", "MAIL FROM:<a@example.com>", "DATA"),
  afterLogin("sequence_wrong", "MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>"),
  atOnce("sequence_wrong", "MAIL FROM:<a@example.com>"),
  atOnce("sequence_wrong", `AUTH PLAIN ${plainToken("user", "secret")}`),
  {
    row: "fault",
    play: async (stage) => {
      stage.intake.accept = () => Promise.reject(new Error("a bug"));
      const reply = await give(stage, message);
      assert.equal(stage.watcher.errors.length, 1);
      return reply;
    },
  },
  atOnce("authentication_required", "EHLO x", "MAIL FROM:<a@example.com>"),
  {
    ...atOnce("authentication_required", "EHLO x", "MAIL FROM:<a@example.com>"),
    options: { tls: "starttls", certificate },
  },
  afterLogin("already_authenticated", `AUTH PLAIN ${plainToken("user", "secret")}`),
  {
    ...atOnce("encryption_required", "EHLO x", `AUTH PLAIN ${plainToken("user", "secret")}`),
    options: { tls: "starttls", certificate },
  },
  atOnce("credentials_wrong", "EHLO x", `AUTH PLAIN ${plainToken("user", "wrong")}`),
  ...(["credentials_throttled", "credentials_unavailable"] as const).map((row): Scene => ({
    row,
    play: async (stage, wire) => {
      stage.gate.onLogin = () => Promise.reject(new Refusal(row, "Not now"));
      await wire.reply();
      await wire.ask("EHLO x");
      return await wire.ask(`AUTH PLAIN ${plainToken("user", "secret")}`);
    },
  })),
  {
    row: "account_suspended",
    play: async (stage) => {
      await using wire = await stage.login();
      stage.gate.policy = undefined;
      return await wire.ask("MAIL FROM:<a@example.com>");
    },
  },
  afterLogin("sender_address_invalid", "MAIL FROM:<nobody>"),
  afterLogin("sender_domain_not_allowed", "MAIL FROM:<a@other.test>"),
  { row: "from_domain_not_allowed", play: (stage) => give(stage, "From: a@other.test\r\n\r\n.") },
  afterLogin("recipient_address_invalid", "MAIL FROM:<a@example.com>", "RCPT TO:<nobody>"),
  {
    ...afterLogin("too_many_recipients", "MAIL FROM:<>", "RCPT TO:<a@x.test>", "RCPT TO:<b@x.test>"),
    options: { rules: { maxRecipients: 1 } },
  },
  afterLogin("smtputf8_required", "MAIL FROM:<\xc3\xa4@example.com>"),
  afterLogin("smtputf8_required", "MAIL FROM:<a@example.com>", "RCPT TO:<b@\xc3\xa4.test>"),
  afterLogin("message_too_large", "MAIL FROM:<a@example.com> SIZE=99999999"),
  {
    row: "message_too_large",
    options: { rules: { maxMessageSize: 100 } },
    play: (stage) => give(stage, `From: a@example.com\r\n\r\n${"x".repeat(100)}\r\n.`),
  },
  {
    row: "headers_too_large",
    options: { rules: { maxHeaderSize: 100 } },
    play: (stage) => give(stage, `From: a@example.com\r\nX: ${"x".repeat(100)}\r\n\r\n.`),
  },
  { row: "headers_invalid", play: (stage) => give(stage, "Subject: no From\r\n\r\n.") },
  {
    row: "headers_invalid",
    play: (stage) => give(stage, "From: a@example.com\r\nFrom: b@example.com\r\n\r\n."),
  },
  { row: "headers_invalid", play: (stage) => give(stage, "From: a@example.com\r\nno field\r\n\r\n.") },
  { row: "headers_invalid", play: (stage) => give(stage, ".") },
  { row: "bare_line_ending", play: (stage) => give(stage, "From: a@example.com\r\n\r\na\nb\r\n.") },
  {
    row: "mail_loop",
    play: (stage) => give(stage, `${"Received: x\r\n".repeat(31)}From: a@example.com\r\n\r\n.`),
  },
  {
    row: "records_too_small",
    options: {
      tls: "starttls",
      certificate,
      limits: { maxFraming: 2_000 },
    },
    play: async (stage) => {
      await using wire = await toData(stage);
      await wire.ask("DATA");
      // Each is a TLS record of its own.
      for (let sent = 0; sent < 200; sent++) await wire.send("x");
      return await wire.reply();
    },
  },
  whenAccepting("not_found"),
  whenAccepting("conflict"),
  whenAccepting("quota_reached"),
  whenAccepting("body_store_full"),
  whenAccepting("body_store_down"),
  whenAccepting("database_down"),
  whenAccepting("queue_down"),
  ...(["queue_down", "quota_reached", "body_store_full"] as const).map((row): Scene => ({
    row,
    play: async (stage) => {
      stage.intake.ready = () => {
        throw new Refusal(row, "Cannot be taken now");
      };
      await using wire = await toRcpt(stage);
      return await wire.ask("MAIL FROM:<a@example.com>");
    },
  })),
  {
    row: "body_memory_full",
    play: async (stage) => {
      stage.intake.reserveMemory = () => Promise.reject(new Refusal("body_memory_full", "Memory is full"));
      await using wire = await toData(stage);
      return await wire.ask("DATA");
    },
  },
  {
    row: "too_many_connections",
    options: { limits: { maxConnections: 1 } },
    play: async (stage, wire) => {
      await wire.reply();
      await using second = await stage.connect();
      return await second.reply();
    },
  },
  {
    row: "too_many_connections",
    options: { limits: { maxConnectionsPerAddress: 1 } },
    play: async (stage, wire) => {
      await wire.reply();
      await using second = await stage.connect();
      return await second.reply();
    },
  },
  { ...atOnce("too_many_errors", "FOO", "FOO", "FOO"), options: { limits: { maxErrors: 2 } } },
  { ...atOnce("too_many_errors", "NOOP", "NOOP", "NOOP"), options: { limits: { maxCommands: 2 } } },
  atOnce("too_many_errors", "GET / HTTP/1.1"),
  { ...atOnce("session_expired"), options: { limits: { idleMs: 100 } }, play: afterGreeting },
  { ...atOnce("session_expired"), options: { limits: { sessionMs: 100 } }, play: afterGreeting },
  {
    row: "session_expired",
    play: async (stage) => {
      await using wire = await stage.login();
      stage.gate.policy = stage.gate.policy && { ...stage.gate.policy, revision: "2" };
      return await wire.ask("MAIL FROM:<a@example.com>");
    },
  },
  {
    row: "shutting_down",
    play: async (stage, wire) => {
      await wire.reply();
      const closed = stage.listener.close(5000);
      const reply = await wire.reply();
      await closed;
      return reply;
    },
  },
];

async function afterGreeting(_stage: Stage, wire: Wire): Promise<string> {
  await wire.reply();
  return await wire.reply();
}

const rows: Record<Row, Reply> = { ...refusalReplies, ...protocolReplies };

for (const [index, { row, options, play }] of scenes.entries()) {
  Deno.test(`replies.ts: ${row} goes over a socket as its row says (${index + 1})`, async () => {
    await using stage = await openStage(options);
    await using wire = await stage.connect();
    const lines = (await play(stage, wire)).split("\r\n");
    const { code, enhanced } = rows[row];
    for (const [at, line] of lines.entries()) {
      const separator = at === lines.length - 1 ? " " : "-";
      const start = `${code}${separator}${enhanced === undefined ? "" : `${enhanced} `}`;
      assert.ok(line.startsWith(start), `expected ${start}, got ${line}`);
      if (enhanced === undefined) assert.doesNotMatch(line, /^\d{3}[ -]\d\.\d+\.\d+/);
    }
    assert.equal(stage.watcher.errors.length, row === "fault" ? 1 : 0);
  });
}

Deno.test("replies.ts has no row that no socket has shown", () => {
  const shown = new Set(scenes.map((scene) => scene.row));
  assert.deepEqual(Object.keys(rows).filter((row) => !shown.has(row as Row)), []);
});

Deno.test("replies to HELO and EHLO have no enhanced code, errors included", async () => {
  await using stage = await openStage();
  await using wire = await stage.connect();
  await wire.reply();
  for (const command of ["EHLO", "HELO", "EHLO a b", "HELO a b", `EHLO ${"x".repeat(301)}`]) {
    assert.match(await wire.ask(command), /^501 [A-Z]/);
  }
});

Deno.test("421 closes the connection, 221 too", async () => {
  await using stage = await openStage({ limits: { maxErrors: 1 } });
  await using first = await stage.connect();
  await first.reply();
  assert.match(await first.ask("FOO"), /^500/);
  assert.match(await first.reply(), /^421 4\.7\.0/);
  await first.ended();
  await using second = await stage.connect();
  await second.reply();
  assert.match(await second.ask("QUIT"), /^221/);
  await second.ended();
});
