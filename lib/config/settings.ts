import {
  bytes,
  duration,
  list,
  network,
  oneOf,
  origin,
  port,
  secretText,
  text,
  whole,
  yesOrNo,
} from "./setting_types.ts";
import type { SettingType } from "./setting_types.ts";

/** A value as it may stand in a YAML file. */
export type RawValue = string | number | boolean | readonly string[];

/** One setting: how it is read, what it is when nobody sets it, and what it means. */
export interface Setting<Value> {
  readonly type: SettingType<Value>;
  /** By environment where the two differ. */
  readonly fallback: RawValue | { readonly production: RawValue; readonly development: RawValue };
  readonly help: string;
  /** Never shown; may be read from the file that `<variable>_FILE` names. */
  readonly secret: boolean;
}

function setting<Value>(type: SettingType<Value>, fallback: Setting<Value>["fallback"], help: string) {
  const secret = type as unknown === secretText;
  return { type, fallback, help, secret } satisfies Setting<Value>;
}

const address = list(network, 0, 1000);
const local = "127.0.0.1";

/** Signing keys that are published with the program, so that `production` refuses them. */
export const publishedSigningKeys = [
  "change-me-in-production-use-a-strong-secret",
  "dev-signing-key-change-in-production",
] as const;

/** Every setting by its path; names of variables, validation, defaults and documentation follow from it. */
// deno-fmt-ignore
export const settings = {
  "environment": setting(oneOf("production", "development"), "production", "`production` refuses default credentials; `development` warns"),
  "instance": setting(whole(0, 999), 0, "Number of this process among its like on a host; added to operations ports, labels metrics and log lines"),
  "stop_with_parent": setting(yesOrNo, false, "Stop, as for SIGTERM, when standard input ends"),
  "require_group_domains": setting(yesOrNo, { production: true, development: false }, "An account's sender domains must lie within its group's"),

  "smtp.host": setting(text, "0.0.0.0", "Address to listen on; `::` for IPv6 and IPv4"),
  "smtp.port": setting(port, 587, "Submission port, with STARTTLS; 0 takes any free port"),
  "smtp.implicit_tls_port": setting(port, 465, "Submission port with TLS from the first byte; 0 is off"),
  "smtp.ops_host": setting(text, local, "Address of the operations port"),
  "smtp.ops_port": setting(port, 9587, "Operations port (`/healthz`, `/readyz`, `/metrics`); `instance` is added; 0 takes any free port"),
  "smtp.hostname": setting(text, "smtp-proxy", "Name in the greeting and in Received fields"),
  "smtp.max_connections": setting(whole(1, 100_000), 1000, "Connections at a time"),
  "smtp.max_connections_per_address": setting(whole(1, 100_000), 500, "Connections at a time from one IPv4 address or IPv6 /64"),
  "smtp.max_message_size": setting(bytes("1KiB", "150MiB"), 26_214_400, "Largest message in bytes"),
  "smtp.max_recipients": setting(whole(1, 32_767), 1000, "Recipients of one message"),
  "smtp.max_commands": setting(whole(10, 10_000_000), 100_000, "Commands of one session since its last accepted message"),
  "smtp.max_errors": setting(whole(1, 10_000), 20, "Refused commands since the last accepted message after which a session ends"),
  "smtp.read_timeout": setting(duration("1s", "1h"), "30s", "Longest silence of a client"),
  "smtp.write_timeout": setting(duration("1s", "1h"), "30s", "Longest wait for a client to take a reply"),
  "smtp.session_timeout": setting(duration("10s", "24h"), "1h", "Longest session"),
  "smtp.data_timeout": setting(duration("1s", "6h"), "10m", "Longest transfer of one message"),
  "smtp.memory_body": setting(bytes("16KiB", "1MiB"), "256KiB", "Bodies above go to a file while they arrive"),
  "smtp.body_memory": setting(bytes("1MiB", "64GiB"), "128MiB", "Memory for bodies that are arriving"),
  "smtp.received": setting(oneOf("full", "brief"), "full", "`brief` leaves the client's address and name out of Received fields"),
  "smtp.resubmission_window": setting(duration("0", "24h"), "1h", "An equal submission within it is answered with the first one's id; 0 is off"),
  "smtp.proxy_protocol": setting(oneOf("off", "on"), "off", "Expect a PROXY header (v1 or v2) from `smtp.trusted_networks`"),
  "smtp.trusted_networks": setting(address, [], "Networks of proxies whose PROXY header is believed"),
  "smtp.bare_line_endings": setting(oneOf("refuse", "repair"), "refuse", "Messages with bare CR or LF, for accounts that do not say otherwise"),
  "smtp.reuse_port": setting(yesOrNo, false, "Several processes of this host may listen on the ports (SO_REUSEPORT), each with an `instance` of its own"),
  "smtp.listeners": setting(list(text, 0, 0), [], "Reserved for more listeners (address, port, TLS mode, networks)"),
  "smtp.shutdown_delay": setting(duration("0", "5m"), "0", "How long new sessions are still taken when stopping, after `/readyz` has said so"),
  "smtp.shutdown_timeout": setting(duration("0", "10m"), "30s", "Longest wait for running transactions when stopping"),

  "worker.ops_host": setting(text, local, "Address of the operations port"),
  "worker.ops_port": setting(port, 9588, "Operations port; `instance` is added; 0 takes any free port"),
  "worker.body_memory": setting(bytes("1MiB", "64GiB"), "256MiB", "Memory for bodies that are being delivered"),
  "worker.shutdown_timeout": setting(duration("0", "10m"), "30s", "Longest wait for running deliveries when stopping"),

  "api.host": setting(text, "0.0.0.0", "Address to listen on"),
  "api.port": setting(port, 8080, "Port of the API; 0 takes any free port"),
  "api.ops_host": setting(text, local, "Address of the operations port"),
  "api.ops_port": setting(port, 9589, "Operations port; `instance` is added; 0 takes any free port"),
  "api.read_timeout": setting(duration("1s", "1h"), "10s", "Longest time to read a request"),
  "api.write_timeout": setting(duration("1s", "1h"), "10s", "Longest time to answer a request"),
  "api.max_body": setting(bytes("1KiB", "64MiB"), "1MiB", "Largest request in bytes"),
  "api.shutdown_delay": setting(duration("0", "5m"), "0", "How long requests are still taken when stopping, after `/readyz` has said so"),
  "api.trusted_networks": setting(address, [], "Networks of proxies whose X-Forwarded-For is believed"),
  "api.cors_origins": setting(list(text, 0, 100), [], "Origins whose pages may call the API; empty allows none"),
  "api.metrics_networks": setting(address, [], "Networks besides loopback that may read `/metrics` on `api.port`"),

  "database.url": setting(secretText, "postgres://smtp_proxy:smtp_proxy_dev@localhost:5432/smtp_proxy?sslmode=disable", "The service's own login to PostgreSQL"),
  "database.owner_url": setting(secretText, "", "The login that `migrate` uses; empty is `database.url`"),
  "database.pool_min": setting(whole(0, 1000), 5, "Connections that stay open when nobody uses them"),
  "database.pool_max": setting(whole(1, 1000), 20, "Connections at a time"),
  "database.connect_timeout": setting(duration("100ms", "5m"), "5s", "Longest wait for a connection"),

  "queue.redis_addr": setting(text, "", "`host:port` of Redis; empty is the queue in PostgreSQL"),
  "queue.redis_username": setting(text, "", "User of Redis"),
  "queue.redis_password": setting(secretText, "", "Password of Redis"),
  "queue.redis_db": setting(whole(0, 1_000_000), 0, "Database number of Redis"),
  "queue.redis_tls": setting(yesOrNo, false, "Speak TLS to Redis"),
  "queue.redis_ca_file": setting(text, "", "Certificates that Redis is checked against; empty is the system's"),
  "queue.stream_name": setting(text, "smtp-proxy", "Prefix of the keys in Redis"),
  "queue.group_name": setting(text, "workers", "Consumer group in Redis"),
  "queue.consumer_id": setting(text, "", "Consumer name in Redis, unique for each worker; empty makes one"),
  "queue.workers": setting(whole(1, 10_000), 10, "Deliveries at a time"),
  "queue.block_timeout": setting(duration("100ms", "1m"), "5s", "Longest wait of a worker for the next message"),
  "queue.lease": setting(duration("1s", "1h"), "120s", "How long a worker owns a message without renewing; it renews at a third"),
  "queue.sweep_after": setting(duration("1s", "24h"), "5m", "First gap before a message without a doorbell is rung again"),

  "delivery.mode": setting(oneOf("", "sync", "async"), "", "For compatibility: `async` needs `queue.redis_addr`, `sync` needs none; delivery is asynchronous in both"),
  "delivery.retry_delays": setting(list(duration("0", "24h"), 1, 20), ["30s", "1m", "2m", "5m", "15m"], "Waits between attempts; jitter is added"),
  "delivery.max_age": setting(duration("1m", "30d"), "72h", "A message that still waits then has failed"),
  "delivery.call_timeout": setting(duration("100ms", "30m"), "30s", "Longest call to a provider"),
  "delivery.without_provider": setting(oneOf("wait", "stdout"), { production: "wait", development: "stdout" }, "What becomes of mail of a group without a provider"),

  "storage.type": setting(oneOf("local", "s3"), "local", "Where new bodies are kept; those of the other store are still read"),
  "storage.path": setting(text, "/data/messages", "Folder of the local store, and of large bodies while they arrive"),
  "storage.s3_bucket": setting(text, "", "Bucket"),
  "storage.s3_prefix": setting(text, "", "Prefix of object keys, without slashes at its ends"),
  "storage.s3_endpoint": setting(text, "", "A service that speaks S3, e.g. `http://minio:9000`; empty is AWS"),
  "storage.s3_region": setting(text, "us-east-1", "Region"),
  "storage.s3_addressing": setting(oneOf("auto", "path", "virtual"), "auto", "Bucket in the path or in the host name; `auto` is the path for `storage.s3_endpoint`"),
  "storage.s3_credentials": setting(oneOf("chain", "static", "environment", "web_identity", "container", "instance"), "chain", "Whose identity is used; `chain` takes the first that is there: keys set here, the environment's, the web identity, the container's, the instance's"),
  "storage.s3_access_key_id": setting(text, "", "Access key of the bucket"),
  "storage.s3_secret_access_key": setting(secretText, "", "Its secret"),
  "storage.s3_session_token": setting(secretText, "", "Its session token, for temporary keys"),
  "storage.s3_role_arn": setting(text, "", "Role to take on with those credentials"),
  "storage.s3_encryption": setting(oneOf("", "aes256", "aws:kms"), "", "Encryption that S3 is asked for; empty is the bucket's own"),
  "storage.s3_kms_key_id": setting(text, "", "Key for `aws:kms`; empty is AWS's own"),
  "storage.min_free": setting(bytes("0", "1024TiB"), "512MiB", "Free space below which no mail is accepted"),
  "storage.put_timeout": setting(duration("100ms", "5m"), "10s", "Wait for a store after which a body is kept in PostgreSQL"),
  "storage.inline_limit": setting(bytes("0", "16MiB"), "1MiB", "Largest body kept in PostgreSQL while the store is down"),

  "tls.mode": setting(oneOf("starttls", "none"), "starttls", "`none` where a load balancer ends TLS: passwords are then taken in the clear"),
  "tls.cert_file": setting(text, "", "Certificate chain (PEM), read again when it changes and at SIGHUP; empty makes a self-signed one"),
  "tls.key_file": setting(text, "", "Private key (PEM)"),

  "auth.signing_key": setting(secretText, publishedSigningKeys[0], "Key of API tokens, 32 characters or more"),
  "auth.previous_signing_keys": setting(secretText, "", "Keys of API tokens that are still accepted, separated by commas"),
  "auth.access_token_expiry": setting(duration("10s", "24h"), "15m", "Life of an access token"),
  "auth.refresh_token_expiry": setting(duration("1m", "365d"), "168h", "Life of a refresh token"),
  "auth.issuer": setting(text, "smtp-proxy", "Issuer of API tokens"),
  "auth.audience": setting(text, "smtp-proxy-api", "Audience of API tokens"),

  "rate_limit.default_monthly_limit": setting(whole(0, 2_147_483_647), 10_000, "Messages a month of a new group; 0 is unlimited"),
  "rate_limit.login_attempts_limit": setting(whole(1, 1000), 5, "Failed logins to the API after which an account or an address is locked"),
  "rate_limit.login_lockout_duration": setting(duration("1s", "24h"), "15m", "How long it is locked"),

  "secrets.keys": setting(secretText, "", "Keys that seal secrets in the database, `id:base64,id:base64`; the first seals, all open"),

  "esp.allowed_networks": setting(address, [], "Networks that providers of groups may name although they are private"),
  "esp.allowed_ports": setting(list(whole(1, 65535), 0, 1000), [], "Ports that relays may use besides 25, 465, 587 and 2525, and a provider's `endpoint` besides 443"),
  "esp.allowed_endpoints": setting(list(origin, 0, 1000), [], "Origins that a provider's `endpoint` may have wherever they are, e.g. `https://mail.internal:8443`; groups may name no others"),
  "esp.allow_file": setting(yesOrNo, { production: false, development: true }, "Providers of type `file` may write mail to `esp.file_folder`"),
  "esp.file_folder": setting(text, "/data/mail", "Folder for providers of type `file`"),
  "esp.allowed_roles": setting(list(text, 0, 1000), [], "Cloud roles (ARN) that any group's provider may take on with the operator's own credentials"),

  "retention.delivered": setting(duration("0", "3650d"), "7d", "How long bodies of delivered and cancelled messages are kept; 0 is as long as their rows"),
  "retention.failed": setting(duration("0", "3650d"), "30d", "How long bodies of dead letters are kept, which can be sent again until then; 0 is as long as their rows"),
  "retention.rows": setting(duration("0", "3650d"), "90d", "How long rows are kept, by whole weeks; 0 is for ever"),
  "retention.activities": setting(duration("0", "3650d"), "365d", "How long activities are kept, and API keys that were revoked or have ended; a day at least, 0 is for ever"),

  "logging.level": setting(oneOf("debug", "info", "warn", "error"), "info", "Least severe lines that are written; read again at SIGHUP"),
  "logging.format": setting(oneOf("json", "text"), "json", "`text` is for people"),
  "logging.output": setting(oneOf("stdout", "file", "cloudwatch"), "stdout", "Where lines go; CloudWatch Logs with the identity that the process has at AWS"),
  "logging.file_path": setting(text, "/var/log/smtp-proxy.log", "File; service, instance and a number are put before `.log`"),
  "logging.max_size_mb": setting(whole(1, 10_000), 100, "Size in MiB at which a file is changed for the next"),
  "logging.max_files": setting(whole(1, 1000), 10, "Files kept"),
  "logging.cw_group": setting(text, "", "CloudWatch log group; it is made when there is none"),
  "logging.cw_stream": setting(text, "", "CloudWatch log stream; empty is one for each process: service, host and instance"),
  "logging.cw_region": setting(text, "", "Its region"),
  "logging.cw_endpoint": setting(text, "", "A service that speaks CloudWatch Logs, such as an interface endpoint; empty is AWS"),
  "logging.redact_addresses": setting(yesOrNo, false, "Leave names of mailboxes and addresses of clients out of log lines"),

  "admin.email": setting(text, "admin@localhost", "System administrator that is created when there is none"),
  "admin.password": setting(secretText, "admin", "Password of that administrator"),
} as const;

/** The path of a setting, as in a YAML file. */
export type SettingPath = keyof typeof settings;

type Camel<Name extends string> = Name extends `${infer First}_${infer Rest}`
  ? `${First}${Capitalize<Camel<Rest>>}`
  : Name;
type ValueOf<Path extends SettingPath> = (typeof settings)[Path] extends Setting<infer Value> ? Value : never;
type Section<Path> = Path extends `${infer Name}.${string}` ? Name : never;
type TopLevel = Exclude<SettingPath, `${string}.${string}`>;

/** All settings: sections and names in camelCase, durations in milliseconds, sizes in bytes. */
export type Config =
  & { readonly [Path in TopLevel as Camel<Path>]: ValueOf<Path> }
  & {
    readonly [Name in Section<SettingPath> as Camel<Name>]: {
      readonly [
        Path in Extract<SettingPath, `${Name}.${string}`> as Path extends `${Name}.${infer Key}` ? Camel<Key>
          : never
      ]: ValueOf<Path>;
    };
  };

/** Every path, in the order of the table. */
export const settingPaths = Object.keys(settings) as readonly SettingPath[];

/** The environment variable of a setting, e.g. `SMTP_PROXY_SMTP_PORT` for `smtp.port`. */
export function variableOf(path: SettingPath): string {
  return `SMTP_PROXY_${path.replaceAll(".", "_").toUpperCase()}`;
}

/** What a setting is in an environment when nobody sets it. */
export function fallbackOf(path: SettingPath, environment: "production" | "development"): RawValue {
  const { fallback } = settings[path] as Setting<unknown>;
  return typeof fallback === "object" && "production" in fallback ? fallback[environment] : fallback;
}

/** `redis_addr` as `redisAddr`. */
export function camelCase(name: string): string {
  return name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
