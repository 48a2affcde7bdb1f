import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { connect, type TLSSocket } from "node:tls";
import { until } from "../../services/dev/processes.ts";
import { selfSignedCertificate } from "../../services/smtp-server/certificate.ts";
import type { ServiceProcess } from "../support/service_process.ts";
import { type TestSystem, withServices } from "../support/spawn_services.ts";

const limitMs = 60_000;

/** A TLS session whose lines are read one at a time. */
class Session implements Disposable {
  readonly #socket: TLSSocket;
  #text = "";

  private constructor(socket: TLSSocket) {
    this.#socket = socket;
    socket.on("data", (chunk: Uint8Array) => this.#text += new TextDecoder().decode(chunk));
    socket.on("error", () => socket.destroy());
  }

  static async open(port: number): Promise<Session> {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      socket.once("secureConnect", resolve);
      socket.once("error", reject);
    });
    const session = new Session(socket);
    assert.match(await session.line(), /^220 /);
    return session;
  }

  get fingerprint(): string {
    return this.#socket.getPeerCertificate().fingerprint256;
  }

  async ask(line: string): Promise<string> {
    this.#socket.write(`${line}\r\n`);
    return await this.line();
  }

  async line(): Promise<string> {
    assert.ok(await until(() => this.#text.includes("\r\n"), limitMs), "no reply");
    const [line = ""] = this.#text.split("\r\n");
    this.#text = this.#text.slice(line.length + 2);
    return line;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }
}

/** Writes a new certificate; answers the settings that name it, and its fingerprint. */
async function writeCertificate({ folder }: TestSystem) {
  const [cert, key] = [`${folder}/log/cert.pem`, `${folder}/log/key.pem`];
  const made = await selfSignedCertificate(new Date());
  await Deno.writeTextFile(cert, made.cert);
  await Deno.writeTextFile(key, made.key);
  return {
    settings: { SMTP_PROXY_TLS_CERT_FILE: cert, SMTP_PROXY_TLS_KEY_FILE: key },
    fingerprint: new X509Certificate(made.cert).fingerprint256,
  };
}

Deno.test("smtp-server uses a new certificate and a new log level at SIGHUP, and drops no session", async () => {
  await withServices({ start: [] }, async (system) => {
    const { smtpServer, folder, implicitTlsPort } = system;
    await Deno.mkdir(`${folder}/log`);
    const config = `${folder}/log/config.yaml`;
    await Deno.writeTextFile(config, "logging:\n  level: error\n");
    const first = await writeCertificate(system);
    await smtpServer.start({ ...first.settings, SMTP_PROXY_CONFIG: config });
    using old = await Session.open(implicitTlsPort);
    assert.equal(old.fingerprint, first.fingerprint);
    assert.doesNotMatch(await smtpServer.log(), /"level":"(debug|info|warn)"/);

    const second = await writeCertificate(system);
    await Deno.writeTextFile(config, "logging:\n  level: debug\n");
    smtpServer.signal("SIGHUP");
    const said = async (sentence: string) => (await smtpServer.log()).includes(`"message":"${sentence}"`);
    assert.ok(await until(() => said("TLS certificate changed"), limitMs));
    assert.ok(await until(() => said("settings read again"), limitMs));
    using fresh = await Session.open(implicitTlsPort);
    assert.equal(fresh.fingerprint, second.fingerprint);
    assert.match(await old.ask("NOOP"), /^250 /);

    await Deno.writeTextFile(config, "logging:\n  level: loud\n");
    smtpServer.signal("SIGHUP");
    assert.ok(await until(() => said("settings not read again"), limitMs));
    assert.match(await old.ask("NOOP"), /^250 /);
    assert.ok(await smtpServer.metric("tls_certificate_expiry_timestamp_seconds") > Date.now() / 1000);
  });
});

Deno.test("smtp-server is not ready from the moment it is told to stop, and takes sessions for a while yet", async () => {
  await withServices({ start: [] }, async ({ smtpServer, implicitTlsPort }) => {
    await smtpServer.start({ SMTP_PROXY_SMTP_SHUTDOWN_DELAY: "10s" });
    smtpServer.signal("SIGTERM");
    const isDown = async () => (await smtpServer.ask("/readyz"))?.status === 503;
    assert.ok(await until(isDown, limitMs));
    using session = await Session.open(implicitTlsPort);
    assert.match(await session.ask("NOOP"), /^250 /);
    // A second signal would end it at once.
    assert.equal(await smtpServer.ended(), 0);
  });
});

Deno.test("several smtp-servers share a port where they are told to", async () => {
  const env = { SMTP_PROXY_SMTP_REUSE_PORT: "true" };
  await withServices({ start: ["smtpServer"], env }, async (system) => {
    const { smtpServer, implicitTlsPort } = system;
    const other = system.second("smtpServer");
    await other.start();
    const accepted = (one: ServiceProcess) => one.metric("smtp_connections_total", 'status="accepted"');
    const both = async () => await accepted(smtpServer) > 0 && await accepted(other) > 0;
    for (let count = 0; count < 100 && !await both(); count++) {
      using session = await Session.open(implicitTlsPort);
      assert.match(await session.ask("NOOP"), /^250 /);
    }
    assert.ok(await both());
    await other.stop();
    using session = await Session.open(implicitTlsPort);
    assert.match(await session.ask("NOOP"), /^250 /);
  });
});
