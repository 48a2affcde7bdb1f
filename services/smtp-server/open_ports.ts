import type { Config } from "../../lib/config/settings.ts";
import { parseCidr } from "../../lib/network/cidr.ts";
import type { Log } from "../../lib/telemetry/log_fields.ts";
import { hashApiKey, looksLikeApiKey } from "../../lib/api_keys/api_key.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { failAfterMs, type PasswordVerifier } from "../../lib/users/password_verifier.ts";
import { accountsOf, openThrottle } from "./accounts.ts";
import { loadCertificate, selfSignedCertificate } from "./certificate.ts";
import { Credentials } from "./credentials.ts";
import type { Observer } from "./intake.ts";
import { type Listener, openListener } from "./listener.ts";
import type { PortOptions } from "./listener_options.ts";
import type { OpenIntake } from "./open_intake.ts";
import { readPolicies } from "./policies.ts";

/** What the ports are to serve. */
export interface PortParts {
  readonly log: Log;
  readonly intake: OpenIntake;
  readonly observer: Observer;
  readonly passwords: PasswordVerifier;
}

const maxHeaderSize = 256 << 10;
const maxReceived = 30;

/** Opens the submission ports; throws when one is taken or the certificate cannot be used. */
export async function openPorts(config: Config, parts: PortParts): Promise<Listener> {
  const { smtp, tls } = config;
  const { log, intake, observer } = parts;
  if (tls.mode === "none") log.warn("TLS is off: passwords and mail come in the clear");
  const certificate = tls.mode === "none" ? undefined : await certificateOf(config, log);
  const ports = portsOf(config);
  const listener = await openListener({
    ports,
    ...(certificate && { certificate }),
    session: {
      gate: await openGate(config, parts),
      intake,
      rules: {
        hostname: smtp.hostname,
        maxMessageSize: smtp.maxMessageSize,
        maxHeaderSize,
        maxRecipients: smtp.maxRecipients,
        maxReceived,
        requireGroupDomains: config.requireGroupDomains,
        received: smtp.received,
      },
      now: () => new Date(),
    },
    limits: limitsOf(config),
    trustedProxies: smtp.proxyProtocol === "on"
      ? smtp.trustedNetworks.flatMap((text) => parseCidr(text) ?? [])
      : [],
    reusePort: smtp.reusePort,
    observer,
    log,
  });
  listener.ports.forEach((port, index) =>
    log.info("listening", { host: smtp.host, port, mode: ports[index]?.tls ?? "" })
  );
  return listener;
}

function portsOf({ smtp, tls }: Config): readonly PortOptions[] {
  const { host } = smtp;
  const submission = { host, port: smtp.port, tls: tls.mode };
  if (tls.mode === "none" || smtp.implicitTlsPort === 0) return [submission];
  return [submission, { host, port: smtp.implicitTlsPort, tls: "implicit" }];
}

async function certificateOf({ tls }: Config, log: Log) {
  if (tls.certFile !== "") return await loadCertificate(tls.certFile, tls.keyFile);
  log.warn("TLS certificate is self-signed: clients cannot verify it");
  return await selfSignedCertificate(new Date());
}

async function openGate(
  config: Config,
  { log, intake: { database }, passwords }: PortParts,
): Promise<Credentials> {
  const policyOf = readPolicies({
    database,
    lineEndings: config.smtp.bareLineEndings,
    now: () => new Date(),
  });
  const accounts = accountsOf(database, (error) => log.warn("use of a key not kept", { error }));
  return new Credentials({
    accounts: { ...accounts, policyOf },
    throttle: await openThrottle(database, (error) => log.warn("login attempts not kept", { error })),
    verifyPassword: (password, hash) => passwords.verify(password, hash),
    dummyHash: await hashPassword(crypto.randomUUID()),
    apiKeyHash: (password) => looksLikeApiKey(password) ? hashApiKey(password) : undefined,
    now: Date.now,
    failAfterMs,
  });
}

function limitsOf({ smtp }: Config) {
  return {
    maxConnections: smtp.maxConnections,
    maxConnectionsPerAddress: smtp.maxConnectionsPerAddress,
    idleMs: smtp.readTimeout,
    writeMs: smtp.writeTimeout,
    sessionMs: smtp.sessionTimeout,
    handshakeMs: smtp.readTimeout,
    dataMs: smtp.dataTimeout,
    minBytesPerSecond: 1_000,
    maxFraming: 4 << 20,
    maxCommands: smtp.maxCommands,
    maxErrors: smtp.maxErrors,
    maxLoginFailures: 3,
  };
}
