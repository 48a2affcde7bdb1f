import assert from "node:assert/strict";
import { declaredMetrics } from "../../lib/telemetry/metrics_declared.ts";
import { until } from "../../services/dev/processes.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { ensureProgram } from "../support/debian_program.ts";
import { plainToken, Wire } from "../support/smtp_wire.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";
import { submitMail } from "../support/submit_mail.ts";

const limitMs = 60_000;
const markedProviders = "select 1 from provider_state where needs_attention_since is not null";

/** What this test does not bring about, and why. */
const notMoved: Readonly<Record<string, string>> = {
  "process_open_fds": "needs all permissions",
  "log_lines_dropped_total": "needs an output that is stuck",
  "smtp_inline_bodies_total": "needs a store that is away",
  "bodies_removed_total": "needs the daily job",
  "retention_partitions_kept": "needs a week that is past and unfinished",
  "delivery_claims_lost_total": "needs two workers that fight for a claim",
  "api_webhook_events_total": "needs a report that is signed",
  "db_errors_total": "needs a database that is down",
};

/** The highest value that each metric was ever seen with. */
class Scrapes {
  readonly #highest = new Map<string, number>();
  readonly texts = new Map<string, string>();
  readonly #system: TestSystem;

  constructor(system: TestSystem) {
    this.#system = system;
  }

  async look(): Promise<void> {
    for (const service of [this.#system.smtpServer, this.#system.queueWorker, this.#system.apiServer]) {
      const text = (await service.ask("/metrics"))?.text ?? "";
      this.texts.set(service.name, text);
      for (const [, name = "", value] of text.matchAll(/^(\w+?)(?:_count)?(?:\{[^}]*\})? (\S+)$/gm)) {
        this.#highest.set(name, Math.max(this.#highest.get(name) ?? 0, Number(value)));
      }
    }
  }

  hasMoved(name: string): boolean {
    return (this.#highest.get(name) ?? 0) > 0;
  }

  async untilMoved(name: string): Promise<void> {
    const look = async () => {
      await this.look();
      return this.hasMoved(name);
    };
    assert.ok(await until(look, limitMs), `${name} has not moved`);
  }
}

async function send(system: TestSystem, to: string, options: { password?: string; id?: string } = {}) {
  const { password = "dev", id = crypto.randomUUID() } = options;
  const text = `From: me@example.com\r\nMessage-ID: <${id}@example.com>\r\nSubject: x\r\n\r\nx\r\n`;
  await submitMail(system, text, { password, to });
}

async function writeCertificate({ folder }: TestSystem) {
  const { cert, key } = await selfSignedCertificate(new Date());
  await Deno.writeTextFile(`${folder}/log/cert.pem`, cert);
  await Deno.writeTextFile(`${folder}/log/key.pem`, key);
}

/** A client in the middle of its message. */
async function openMessage({ smtpPort }: TestSystem): Promise<Wire> {
  const wire = await Wire.open(smtpPort);
  await wire.reply();
  await wire.ask("EHLO client.test");
  await wire.ask("STARTTLS");
  await wire.startTls();
  await wire.ask("EHLO client.test");
  await wire.ask(`AUTH PLAIN ${plainToken("dev", "dev")}`);
  await wire.ask("MAIL FROM:<me@example.com>");
  await wire.ask("RCPT TO:<you@example.net>");
  assert.match(await wire.ask("DATA"), /^354/);
  return wire;
}

async function askApi(system: TestSystem, path: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(`http://127.0.0.1:${system.apiPort}/api/v1${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, body: text === "" ? {} : JSON.parse(text) as Record<string, string> };
}

/** What goes wrong at the API's door, and an address that nothing is sent to. */
async function troubleTheApi(system: TestSystem): Promise<void> {
  assert.equal((await askApi(system, "/users", {}, { authorization: "Bearer wrong" })).status, 401);
  assert.equal((await askApi(system, "/webhooks/mailgun", {})).status, 400);
  const [group] = await rowsOf(system, "select id from groups where name = 'dev-company'");
  const admin = { email: "admin@localhost", password: "admin" };
  const { body: { access_token: token } } = await askApi(system, "/auth/login", admin);
  const headers = { authorization: `Bearer ${token}`, "x-group-id": String(group?.["id"]) };
  const made = await askApi(
    system,
    "/suppressions",
    { address: "gone@example.net", reason: "bounce" },
    headers,
  );
  assert.equal(made.status, 200, JSON.stringify(made.body));
}

Deno.test("what goes wrong moves the metrics that panels and rules ask for, and promtool understands every scrape", async () => {
  const provider = { name: "main", "provider_type": "simulator" };
  const env = { SMTP_PROXY_DELIVERY_RETRY_DELAYS: "1s", SMTP_PROXY_DELIVERY_CALL_TIMEOUT: "20s" };
  await withServices({ provider, env, start: ["apiServer"] }, async (system) => {
    const { folder, smtpServer, queueWorker } = system;
    const scrapes = new Scrapes(system);
    await Deno.mkdir(`${folder}/log`);
    await writeCertificate(system);
    await smtpServer.start({
      SMTP_PROXY_TLS_CERT_FILE: `${folder}/log/cert.pem`,
      SMTP_PROXY_TLS_KEY_FILE: `${folder}/log/key.pem`,
    });
    // A worker that finds a queue it does not know rings all that is unfinished, such as what waits for its next try.
    await send(system, "you@example.net");
    await rowsOf(system, "update messages set next_attempt_at = now() + interval '1 hour'");
    await queueWorker.start();
    await scrapes.untilMoved("sweeper_rings_total");

    await troubleTheApi(system);
    await assert.rejects(send(system, "you@example.net", { password: "wrong" }), /535/);
    for (let times = 0; times < 2; times++) await send(system, "you@example.net", { id: "same" });
    await scrapes.untilMoved("smtp_resubmissions_total");
    await writeCertificate(system);
    smtpServer.signal("SIGHUP");
    await scrapes.untilMoved("tls_certificate_reloads_total");
    {
      await using _client = await openMessage(system);
      await scrapes.untilMoved("smtp_body_memory_bytes");
    }
    const outcomes = [
      ["gone", "delivery_suppressed_total"],
      ["bounce", "queue_dlq_messages_total"],
      ["defer+1", "delivery_retries_total"],
      ["unknown", "delivery_resent_total"],
      ["throttle+1", "delivery_waits_total"],
      ["timeout", "worker_body_memory_bytes"],
      ["credentials", "providers_needing_attention"],
    ] as const;
    for (const [name, metric] of outcomes) {
      await send(system, `${name}@example.net`);
      await scrapes.untilMoved(metric);
    }
    // The worker counts it before it has written it down.
    const isMarked = async () => (await rowsOf(system, markedProviders)).length > 0;
    assert.ok(await until(isMarked, limitMs));
    await rowsOf(system, "update provider_state set needs_attention_since = null, next_probe_at = null");
    for (let count = 0; count < 10; count++) await send(system, "down@example.net");
    await scrapes.untilMoved("provider_breakers");

    const names = Object.values(declaredMetrics).flatMap((part) =>
      Object.values(part).map(({ name }) => name)
    );
    const still = () => names.filter((name) => !scrapes.hasMoved(name) && notMoved[name] === undefined);
    const isDone = async () => {
      await scrapes.look();
      return still().length === 0;
    };
    await until(isDone, limitMs);
    assert.deepEqual(still(), []);
    assert.equal(Object.keys(notMoved).length, 8);
    await assertUnderstood(scrapes.texts);
  });
});

async function assertUnderstood(texts: ReadonlyMap<string, string>): Promise<void> {
  const promtool = await ensureProgram({
    name: "promtool",
    packages: ["prometheus"],
    try: ["--version"],
    howToInstall: "install promtool so that it is on PATH (Debian, Ubuntu: apt-get install prometheus)",
  });
  for (const [service, text] of texts) {
    const child = new Deno.Command(promtool.path, {
      args: ["check", "metrics"],
      env: { ...promtool.env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const input = child.stdin.getWriter();
    await input.write(new TextEncoder().encode(text));
    await input.close();
    const { code, stdout, stderr } = await child.output();
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assert.deepEqual({ code, said }, { code: 0, said: "" }, service);
  }
  const { code, stderr } = await new Deno.Command(promtool.path, {
    args: ["check", "rules", "services/operations/alerts.yaml"],
    env: { ...promtool.env },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
}
