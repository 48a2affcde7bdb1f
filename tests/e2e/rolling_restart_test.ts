// Every service has two processes that are stopped and started in turn while mail comes in by STARTTLS. The client is a
// process of its own that sends again what it has no 250 for; the sink counts.
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { until } from "../../services/dev/processes.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import { startLoad } from "../drills/load_process.ts";
import { type Stage, withStage } from "../drills/stage.ts";
import { freePort } from "../support/ports.ts";
import { presentedCertificate } from "../support/presented_certificate.ts";
import type { ServiceProcess } from "../support/service_process.ts";

const limitMs = 180_000;
const load = { messages: 240, rate: 80, size: 2000, recipients: 2, sessions: 8 } as const;

const env = {
  SMTP_PROXY_SMTP_REUSE_PORT: "true",
  // A client that keeps mail back until something is done is not ended for its silence.
  SMTP_PROXY_SMTP_READ_TIMEOUT: "10m",
};

/** Two processes of each service, all of them running; the two api-servers have ports of their own. */
interface Pairs {
  readonly smtp: readonly [ServiceProcess, ServiceProcess];
  readonly workers: readonly [ServiceProcess, ServiceProcess];
  readonly api: readonly [ServiceProcess, ServiceProcess];
}

interface Sent {
  readonly errors: Readonly<Record<string, number>>;
  readonly duplicates: number;
}

/**
 * Sends mail and acts in the midst of it; asserts that every message was acknowledged and that nothing is lost, and
 * answers what the client met with.
 */
async function underLoad(stage: Stage, act: () => Promise<void>, perConnection = 7): Promise<Sent> {
  const plan = { ...load, keep: load.messages / 5, perConnection, port: stage.system.smtpPort };
  await using client = startLoad(plan, stage.folder);
  let hasEnded = false;
  const end = () => hasEnded = true;
  client.ended.then(end, end);
  assert.ok(await until(async () => hasEnded || await client.acked() >= load.messages / 5, limitMs));
  assert.equal(hasEnded, false, "the load was over before anything happened");
  await act();
  await client.finish();
  const { errors } = await client.ended;
  assert.ok(await stage.settled(limitMs), "mail is left unfinished");
  const { acked, lost, invented, dead, duplicates, resentDuplicates } = await stage.verdict(client);
  const counted = { acked, lost, invented, dead };
  assert.deepEqual(counted, { acked: load.messages, lost: 0, invented: 0, dead: 0 }, JSON.stringify(errors));
  return { errors, duplicates: duplicates + resentDuplicates };
}

const cutOff = "ECONNRESET before the greeting";

/**
 * What a client may meet with while a server of several is restarted: a refusal for now, and 421 before the end. Where
 * the system does not hand on who waits at a port that is just being closed (net.ipv4.tcp_migrate_req), it may cut one
 * of them off.
 */
function assertPolite({ errors, duplicates }: Sent, what: string): void {
  const polite = /^(4\d\d\b|(at QUIT: )?an unasked reply 421$)/;
  const rude = Object.entries(errors).filter(([error, times]) =>
    !polite.test(error) && !(error === cutOff && times === 1)
  );
  assert.deepEqual(rude, [], `${what}: ${JSON.stringify(errors)}`);
  assert.equal(duplicates, 0, what);
}

async function restart(service: ServiceProcess, settings: Readonly<Record<string, string>>): Promise<void> {
  assert.equal(await service.stop(), 0, service.name);
  await service.start(settings);
}

/** Asks the API as somebody behind a load balancer does, of whichever process is ready, until it is told to end. */
async function askApi({ api }: Pairs, ports: readonly number[], signal: AbortSignal): Promise<number> {
  let answered = 0;
  while (!signal.aborted) {
    for (const [index, service] of api.entries()) {
      if (!await service.isReady()) continue;
      const response = await fetch(`http://127.0.0.1:${ports[index]}/api/v1/auth/login`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ email: "admin@localhost", password: "admin" }),
      });
      await response.body?.cancel();
      assert.equal(response.status, 200, service.name);
      answered++;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return answered;
}

/** Writes a new certificate in the place of the one before; answers its fingerprint. */
async function writeCertificate({ cert, key }: CertificateFiles): Promise<string> {
  const made = await selfSignedCertificate(new Date());
  await Deno.writeTextFile(cert, made.cert);
  await Deno.writeTextFile(key, made.key);
  return new X509Certificate(made.cert).fingerprint256;
}

interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

async function startAll(
  { system }: Stage,
  settings: Readonly<Record<string, string>>,
  apiPort: number,
): Promise<Pairs> {
  const pairs: Pairs = {
    smtp: [system.smtpServer, system.second("smtpServer")],
    workers: [system.queueWorker, system.second("queueWorker")],
    api: [system.apiServer, system.second("apiServer", { SMTP_PROXY_API_PORT: String(apiPort) })],
  };
  const all = [...pairs.smtp, ...pairs.workers, ...pairs.api];
  await Promise.all(all.map((service) => service.start(settings)));
  return pairs;
}

Deno.test("every service is restarted in turn under load: nothing is lost or doubled, and clients see 4yz alone", async () => {
  const options = { queue: "postgres", start: [], env } as const;
  await withStage(options, async (stage) => {
    const { system } = stage;
    await Deno.mkdir(`${system.folder}/log`);
    const files = { cert: `${system.folder}/log/cert.pem`, key: `${system.folder}/log/key.pem` };
    const first = await writeCertificate(files);
    const settings = {
      SMTP_PROXY_TLS_CERT_FILE: files.cert,
      SMTP_PROXY_TLS_KEY_FILE: files.key,
      // As behind a load balancer that asks /readyz: it is told before the port is closed, and longer before than
      // anything here may stand still.
      SMTP_PROXY_API_SHUTDOWN_DELAY: "5s",
    };
    const apiPort = freePort();
    const pairs = await startAll(stage, settings, apiPort);

    for (const service of pairs.smtp) {
      assertPolite(await underLoad(stage, () => restart(service, settings)), service.name);
    }
    for (const service of pairs.workers) {
      const { errors, duplicates } = await underLoad(stage, () => restart(service, settings));
      assert.deepEqual({ errors, duplicates }, { errors: {}, duplicates: 0 }, service.name);
    }
    const stop = new AbortController();
    const asking = askApi(pairs, [system.apiPort, apiPort], stop.signal);
    for (const service of pairs.api) await restart(service, settings);
    stop.abort();
    assert.ok(await asking > 0);

    // Long sessions, so that some of them are older than the certificate that the others have.
    assert.equal(await presentedCertificate(system.implicitTlsPort), first);
    let second = "";
    const { errors } = await underLoad(stage, async () => {
      second = await writeCertificate(files);
      for (const service of pairs.smtp) service.signal("SIGHUP");
      const used = (service: ServiceProcess) =>
        service.metric("tls_certificate_reloads_total", 'result="used"');
      for (const service of pairs.smtp) {
        assert.ok(await until(async () => await used(service) === 1, limitMs));
      }
    }, 40);
    assert.deepEqual(errors, {});
    for (let count = 0; count < 10; count++) {
      assert.equal(await presentedCertificate(system.implicitTlsPort), second);
    }
  });
});

Deno.test("a process of each service is killed under load and started again: the other goes on, and nothing is lost", async () => {
  const options = { queue: "postgres", start: [], env } as const;
  await withStage(options, async (stage) => {
    const { smtp, workers } = await startAll(stage, {}, freePort());
    const { duplicates } = await underLoad(stage, async () => {
      await smtp[0].kill();
      await smtp[0].start();
    });
    assert.equal(duplicates, 0);
    const killed = await underLoad(stage, async () => {
      await workers[1].kill();
      await workers[1].start();
    });
    assert.deepEqual(killed.errors, {});
    assert.ok(killed.duplicates <= 10, `${killed.duplicates} mails are doubled`);
  });
});
