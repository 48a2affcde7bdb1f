import { regionPattern } from "../aws/region.ts";
import { readKeys } from "../secrets/seal.ts";
import { faultOfPlace } from "../store/s3_place.ts";
import type { Config, SettingPath } from "./settings.ts";
import { publishedSigningKeys } from "./settings.ts";

/** The programs that read the settings; each is refused only what it uses itself (ruling 1.3). */
export type Service =
  | "smtp-server"
  | "queue-worker"
  | "api-server"
  | "migrate"
  | "seed"
  | "admin"
  | "seal"
  | "apply"
  | "spool"
  | "dev"
  | "test-client";

/** A rule about several settings, or about one that depends on who reads it. */
export interface Check {
  /** The settings it looks at; it is left out when one of them could not be read. */
  readonly about: readonly SettingPath[];
  /** What is wrong, as a sentence; nothing when all is well. */
  find(config: Config, service: Service): string | undefined;
}

/** Every rule that concerns more than one setting's own form. */
export const checks: readonly Check[] = [
  { about: ["delivery.mode", "queue.redis_addr"], find: deliveryMode },
  { about: ["queue.redis_addr"], find: ({ queue }) => hostAndPort(queue.redisAddr) },
  { about: ["queue.redis_tls", "queue.redis_ca_file"], find: redisCertificates },
  { about: ["queue.lease", "delivery.call_timeout"], find: leaseOutlastsCalls },
  { about: ["database.url"], find: ({ database }) => databaseUrl("database.url", database.url.reveal()) },
  {
    about: ["database.owner_url"],
    find: ({ database }) => databaseUrl("database.owner_url", database.ownerUrl.reveal() || "postgres://h/d"),
  },
  { about: ["smtp.hostname"], find: ({ smtp }) => hostname(smtp.hostname) },
  { about: ["smtp.memory_body", "smtp.body_memory"], find: bodyMemory },
  { about: ["smtp.proxy_protocol", "smtp.trusted_networks"], find: trustedProxies },
  {
    about: [
      "storage.type",
      "storage.path",
      "storage.s3_bucket",
      "storage.s3_prefix",
      "storage.s3_endpoint",
      "storage.s3_region",
    ],
    find: storePlace,
  },
  {
    about: [
      "storage.s3_credentials",
      "storage.s3_access_key_id",
      "storage.s3_secret_access_key",
      "storage.s3_encryption",
      "storage.s3_kms_key_id",
    ],
    find: s3Keys,
  },
  { about: ["retention.rows", "delivery.max_age"], find: rowsOutlastDelivery },
  { about: ["retention.activities"], find: activitiesLastADay },
  { about: ["tls.cert_file", "tls.key_file"], find: certificateAndKey },
  {
    about: [
      "logging.output",
      "logging.cw_group",
      "logging.cw_stream",
      "logging.cw_region",
      "logging.cw_endpoint",
    ],
    find: logOutput,
  },
  { about: ["secrets.keys"], find: sealingKeys },
  { about: ["environment", "admin.password"], find: adminPassword },
  { about: ["environment", "auth.signing_key"], find: signingKey },
  { about: ["instance", "smtp.port", "smtp.implicit_tls_port", "smtp.ops_port"], find: smtpPorts },
  { about: ["instance", "worker.ops_port"], find: workerPorts },
  { about: ["instance", "api.port", "api.ops_port"], find: apiPorts },
];

function deliveryMode({ delivery, queue }: Config): string | undefined {
  if (delivery.mode === "async" && queue.redisAddr === "") {
    return "delivery.mode is async, which needs queue.redis_addr: set it, or remove delivery.mode";
  }
  if (delivery.mode === "sync" && queue.redisAddr !== "") {
    return `delivery.mode is sync, but queue.redis_addr is "${queue.redisAddr}": remove queue.redis_addr for the ` +
      "queue in PostgreSQL, or remove delivery.mode for Redis";
  }
  return undefined;
}

function hostAndPort(value: string): string | undefined {
  if (value === "" || /^(\[[0-9a-f:.]+\]|[^\s:/@]+):\d{1,5}$/i.test(value)) return undefined;
  return `queue.redis_addr is not host:port: current value is "${value}"`;
}

function redisCertificates({ queue }: Config): string | undefined {
  if (queue.redisCaFile === "" || queue.redisTls) return undefined;
  return "queue.redis_ca_file is set, but queue.redis_tls is false";
}

/** A lease is renewed at a third, so that is what may be gone of it; and a result has yet to be written. */
function leaseOutlastsCalls({ queue, delivery }: Config): string | undefined {
  const least = Math.floor((delivery.callTimeout + leaseMarginMs) * 3 / 2);
  if (queue.lease > least) return undefined;
  return `queue.lease must be longer than ${least} ms, one and a half times delivery.call_timeout and a second: ` +
    `current values are ${queue.lease} ms and ${delivery.callTimeout} ms`;
}

const leaseMarginMs = 1000;

function hostname(value: string): string | undefined {
  if (/^(?=.{1,255}$)[\p{L}\p{N}_]([\p{L}\p{N}._-]*[\p{L}\p{N}_])?$|^\[[0-9A-Fa-f:.IPv]+\]$/u.test(value)) {
    return undefined;
  }
  return `smtp.hostname is not a host name: current value is ${JSON.stringify(value).slice(0, 200)}`;
}

/** Says nothing of the text itself: it holds a password. */
function databaseUrl(path: string, value: string): string | undefined {
  if (/^(postgres|postgresql|socket):/.test(value) && URL.canParse(value)) {
    if (isWellEscaped(value)) return undefined;
    return `${path} has a blank or a % that begins no %XX, current value is not shown; write them as %20 and %25`;
  }
  return `${path} is not a URL such as postgres://user:password@host:5432/name, current value is not shown; ` +
    "special characters of a password are written as %XX";
}

/** With one wrong escape in it the driver reads the right ones as they stand, and the password is another. */
function isWellEscaped(value: string): boolean {
  try {
    return !value.includes(" ") && decodeURIComponent(value) !== "";
  } catch (error) {
    if (error instanceof URIError) return false;
    throw error;
  }
}

function bodyMemory({ smtp }: Config): string | undefined {
  if (smtp.memoryBody <= smtp.bodyMemory) return undefined;
  return `smtp.memory_body is above smtp.body_memory: current values are ${smtp.memoryBody} and ${smtp.bodyMemory}`;
}

function trustedProxies({ smtp }: Config): string | undefined {
  if (smtp.proxyProtocol === "off" || smtp.trustedNetworks.length > 0) return undefined;
  return "smtp.proxy_protocol is on, but smtp.trusted_networks names nobody whose header is believed";
}

function storePlace({ storage }: Config): string | undefined {
  const { type, path, s3Bucket, s3Prefix, s3Endpoint, s3Region, s3Addressing } = storage;
  // Also in S3's case: large bodies lie there while they arrive.
  if (path === "") return "storage.path is empty";
  if (s3Bucket === "") {
    return type === "s3" ? "storage.type is s3, but storage.s3_bucket is empty" : undefined;
  }
  return faultOfPlace({
    bucket: s3Bucket,
    prefix: s3Prefix,
    endpoint: s3Endpoint,
    region: s3Region,
    addressing: s3Addressing,
  });
}

function s3Keys({ storage }: Config): string | undefined {
  const [id, secret] = [storage.s3AccessKeyId, storage.s3SecretAccessKey.reveal()];
  if ((id === "") !== (secret === "")) {
    const [given, missing] = id === ""
      ? ["secret_access_key", "access_key_id"]
      : ["access_key_id", "secret_access_key"];
    return `storage.s3_${given} is set, but storage.s3_${missing} is empty: set both or neither`;
  }
  if (storage.s3Credentials === "static" && id === "") {
    return "storage.s3_credentials is static, but storage.s3_access_key_id is empty";
  }
  if (storage.s3KmsKeyId !== "" && storage.s3Encryption !== "aws:kms") {
    return "storage.s3_kms_key_id is set, but storage.s3_encryption is not aws:kms";
  }
  return undefined;
}

/** No row may go before its message has ended one way or another. */
function rowsOutlastDelivery({ retention, delivery }: Config): string | undefined {
  if (retention.rows === 0 || retention.rows > delivery.maxAge) return undefined;
  return `retention.rows must be longer than delivery.max_age: current values are ${retention.rows} ms and ` +
    `${delivery.maxAge} ms`;
}

/** Limits are counted by what was told lately. */
function activitiesLastADay({ retention: { activities } }: Config): string | undefined {
  if (activities === 0 || activities >= 86_400_000) return undefined;
  return `retention.activities must be a day at least, or 0: current value is ${activities} ms`;
}

function certificateAndKey({ tls }: Config): string | undefined {
  if ((tls.certFile === "") === (tls.keyFile === "")) return undefined;
  const [given, missing] = tls.keyFile === "" ? ["cert", "key"] : ["key", "cert"];
  return `tls.${given}_file is set, but tls.${missing}_file is empty: set both or neither`;
}

function logOutput({ logging }: Config): string | undefined {
  if (logging.output !== "cloudwatch") return undefined;
  const { cwGroup: group, cwStream: stream, cwRegion: region, cwEndpoint: endpoint } = logging;
  if (!/^[\w./#-]{1,512}$/.test(group)) {
    return `logging.output is cloudwatch, which needs a log group: current value of logging.cw_group is "${group}"`;
  }
  if (!/^[^:*]{0,512}$/.test(stream)) {
    return `logging.cw_stream is no name of a log stream: current value is "${stream}"`;
  }
  if (!regionPattern.test(region)) return `logging.cw_region is no region: current value is "${region}"`;
  if (endpoint === "" || /^https?:$/.test(URL.parse(endpoint)?.protocol ?? "")) return undefined;
  return `logging.cw_endpoint is no URL of HTTP: current value is "${endpoint}"`;
}

function sealingKeys({ secrets }: Config): string | undefined {
  try {
    readKeys(secrets.keys.reveal());
    return undefined;
  } catch (error) {
    return `secrets.keys: ${error instanceof Error ? error.message : error}`;
  }
}

function adminPassword({ environment, admin }: Config, service: Service): string | undefined {
  if (environment === "development" || service !== "api-server") return undefined;
  const password = admin.password.reveal();
  if (password !== "admin" && password !== "") return undefined;
  return "admin.password is the published default: set one of your own, or environment to development";
}

function signingKey({ environment, auth }: Config, service: Service): string | undefined {
  if (environment === "development" || service !== "api-server") return undefined;
  const key = auth.signingKey.reveal();
  if (publishedSigningKeys.some((published) => published === key)) {
    return "auth.signing_key is a published default: set one of your own, or environment to development";
  }
  return key.length < 32 ? "auth.signing_key is shorter than 32 characters" : undefined;
}

function smtpPorts({ instance, smtp }: Config, service: Service): string | undefined {
  if (service !== "smtp-server") return undefined;
  return distinctPorts({
    "smtp.port": smtp.port,
    "smtp.implicit_tls_port": smtp.implicitTlsPort,
    "smtp.ops_port": operationsPort(smtp.opsPort, instance),
  });
}

function workerPorts({ instance, worker }: Config, service: Service): string | undefined {
  if (service !== "queue-worker") return undefined;
  return distinctPorts({ "worker.ops_port": operationsPort(worker.opsPort, instance) });
}

function apiPorts({ instance, api }: Config, service: Service): string | undefined {
  if (service !== "api-server") return undefined;
  return distinctPorts({ "api.port": api.port, "api.ops_port": operationsPort(api.opsPort, instance) });
}

function distinctPorts(ports: Readonly<Record<string, number>>): string | undefined {
  const seen = new Map<number, string>();
  for (const [path, port] of Object.entries(ports)) {
    const other = seen.get(port);
    if (port > 65535) return `${path} plus instance is above 65535: current value is ${port}`;
    if (port !== 0 && other !== undefined) {
      return `${other} and ${path} are the same port: current value is ${port}`;
    }
    seen.set(port, path);
  }
  return undefined;
}

/** The operations port of one instance (ruling 1.15); 0 stays 0, which takes any free port. */
export function operationsPort(port: number, instance: number): number {
  return port === 0 ? 0 : port + instance;
}
