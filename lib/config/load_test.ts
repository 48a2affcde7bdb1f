import assert from "node:assert/strict";
import type { Service } from "./checks.ts";
import type { LoadedConfig } from "./load.ts";
import { ConfigError, loadConfig } from "./load.ts";
import type { Config } from "./settings.ts";
import { settingPaths, settings, variableOf } from "./settings.ts";
import type { ParsedFile } from "./yaml_file.ts";

interface World {
  readonly service?: Service;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly files?: Readonly<Record<string, unknown>>;
}

/** Files are given as what they say; reading YAML itself needs permissions. */
function parseFile(text: string): ParsedFile {
  return { content: JSON.parse(text), problems: [] };
}

function load({ service = "smtp-server", args = [], env = {}, files = {} }: World = {}): LoadedConfig {
  const text = (value: unknown) =>
    typeof value === "object" ? JSON.stringify(value) : value as string | undefined;
  const readFile = (path: string) => text(files[path]);
  return loadConfig({
    service,
    args,
    env: (name) => env[name],
    envNames: Object.keys(env),
    readFile,
    parseFile,
  });
}

function mistakesOf(world: World): readonly string[] {
  try {
    load(world);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.mistakes;
  }
}

Deno.test("loadConfig() has the documented defaults, typed, in milliseconds and bytes", () => {
  const { config, warnings } = load();
  const port: number = config.smtp.port;
  assert.equal(port, 587);
  assert.equal(config.smtp.implicitTlsPort, 465);
  assert.equal(config.smtp.memoryBody, 262_144);
  assert.equal(config.smtp.maxMessageSize, 26_214_400);
  assert.deepEqual(config.delivery.retryDelays, [30_000, 60_000, 120_000, 300_000, 900_000]);
  assert.equal(config.auth.refreshTokenExpiry, 604_800_000);
  assert.equal(config.queue.redisAddr, "");
  assert.equal(config.storage.s3Region, "us-east-1");
  assert.equal(config.environment, "production");
  assert.equal(config.stopWithParent, false);
  assert.match(config.database.url.reveal(), /^postgres:/);
  assert.deepEqual(warnings, []);
});

Deno.test("loadConfig() lets every setting be given by its variable", () => {
  const given: Readonly<Record<string, string>> = {
    environment: "development",
    "delivery.mode": "async",
    "queue.redis_addr": "redis:6379",
    "storage.type": "local",
    "tls.cert_file": "/c.pem",
    "tls.key_file": "/k.pem",
    "smtp.port": "2587",
    "delivery.retry_delays": "1s,2s",
    "esp.allowed_networks": "10.0.0.0/8,fd00::/8",
    "queue.lease": "1h",
    instance: "3",
  };
  const { config, warnings } = load({
    env: Object.fromEntries(
      Object.entries(given).map(([path, value]) => [
        variableOf(path as typeof settingPaths[number]),
        value,
      ]),
    ),
  });
  assert.equal(config.queue.redisAddr, "redis:6379");
  assert.equal(config.smtp.port, 2587);
  assert.deepEqual(config.delivery.retryDelays, [1000, 2000]);
  assert.deepEqual(config.esp.allowedNetworks, ["10.0.0.0/8", "fd00::/8"]);
  assert.equal(config.instance, 3);
  assert.deepEqual(warnings, []);
});

Deno.test("variableOf() follows the path", () => {
  assert.equal(variableOf("smtp.implicit_tls_port"), "SMTP_PROXY_SMTP_IMPLICIT_TLS_PORT");
  assert.equal(variableOf("environment"), "SMTP_PROXY_ENVIRONMENT");
  assert.equal(variableOf("admin.email"), "SMTP_PROXY_ADMIN_EMAIL");
  assert.equal(variableOf("database.owner_url"), "SMTP_PROXY_DATABASE_OWNER_URL");
  assert.equal(new Set(settingPaths.map(variableOf)).size, settingPaths.length);
});

Deno.test("loadConfig() reads the file that is named, else SMTP_PROXY_CONFIG, else the usual place", () => {
  const files = {
    "/a.yaml": { smtp: { port: 1 } },
    "/b.yaml": { smtp: { port: 2 } },
    "/etc/smtp-proxy/config.yaml": { smtp: { port: 3 } },
  };
  const env = { SMTP_PROXY_CONFIG: "/b.yaml" };
  assert.equal(load({ files, env, args: ["up", "--config", "/a.yaml"] }).config.smtp.port, 1);
  assert.equal(load({ files, env, args: ["--config=/a.yaml"] }).config.smtp.port, 1);
  assert.equal(load({ files, env }).config.smtp.port, 2);
  assert.equal(load({ files }).config.smtp.port, 3);
  assert.deepEqual(load({ files, args: ["up", "--config", "/a.yaml", "x"] }).rest, ["up", "x"]);
  assert.match(mistakesOf({ args: ["--config", "/gone.yaml"] }).join(), /\/gone\.yaml.*does not exist/);
});

Deno.test("loadConfig() puts variables above the file, and empty variables above nothing", () => {
  const files = { "/c.yaml": { smtp: { port: 2525, hostname: "mail.example.com" }, queue: null } };
  const env = {
    SMTP_PROXY_CONFIG: "/c.yaml",
    SMTP_PROXY_SMTP_PORT: "",
    SMTP_PROXY_SMTP_HOSTNAME: "mx.example.com",
  };
  const { config } = load({ files, env });
  assert.equal(config.smtp.port, 2525);
  assert.equal(config.smtp.hostname, "mx.example.com");
});

Deno.test("loadConfig() reads secrets from files, without the line end", () => {
  const env = { SMTP_PROXY_DATABASE_URL_FILE: "/run/secrets/url" };
  const files = { "/run/secrets/url": "postgres://u:p@db/x\n" };
  const { config, warnings } = load({ env, files });
  assert.equal(config.database.url.reveal(), "postgres://u:p@db/x");
  assert.deepEqual(warnings, []);
  assert.match(mistakesOf({ env }).join(), /SMTP_PROXY_DATABASE_URL_FILE.*does not exist/);
  const both = { ...env, SMTP_PROXY_DATABASE_URL: "postgres://" };
  assert.match(mistakesOf({ env: both, files }).join(), /both set/);
});

Deno.test("loadConfig() reports all mistakes at once, with place and value, and no secret", () => {
  const mistakes = mistakesOf({
    files: { "/c.yaml": { smtp: { port: "many", prot: 25 }, smpt: {}, worker: 3 } },
    args: ["--config", "/c.yaml"],
    env: {
      SMTP_PROXY_DELIVERY_CALL_TIMEOUT: "30",
      SMTP_PROXY_LOGGING_OUTPUT: "cloudwatch",
      SMTP_PROXY_SECRETS_KEYS: "k1:c2VjcmV0",
    },
  });
  assert.deepEqual(mistakes, [
    "smtp.prot (/c.yaml): There is no such setting",
    "smpt (/c.yaml): There is no such setting",
    "worker (/c.yaml): Expected settings below it",
    'smtp.port (/c.yaml): Expected a port from 0 to 65535, current value is "many"',
    "delivery.call_timeout (SMTP_PROXY_DELIVERY_CALL_TIMEOUT): Expected a duration from 100ms to 30m with its " +
    'unit (ms, s, m, h, d), current value is "30"',
    'logging.output is cloudwatch, which needs a log group: current value of logging.cw_group is ""',
    'secrets.keys: Cannot read key "k1": expected 32 bytes',
  ]);
});

Deno.test("loadConfig() refuses a file without sections", () => {
  const file = "/etc/smtp-proxy/config.yaml";
  assert.match(mistakesOf({ files: { [file]: ["smtp"] } }).join(), /Expected sections/);
  assert.deepEqual(mistakesOf({ files: { [file]: "null" } }), []);
});

Deno.test("loadConfig() refuses a delivery mode that contradicts the queue (ruling 1.4)", () => {
  const redis = { SMTP_PROXY_QUEUE_REDIS_ADDR: "localhost:6379" };
  const mode = (value: string) => ({ SMTP_PROXY_DELIVERY_MODE: value });
  assert.match(mistakesOf({ env: mode("async") }).join(), /needs queue\.redis_addr/);
  assert.match(
    mistakesOf({ env: { ...redis, ...mode("sync") } }).join(),
    /remove queue\.redis_addr .* or remove/,
  );
  for (const env of [mode("sync"), { ...redis, ...mode("async") }, redis, {}]) {
    assert.deepEqual(mistakesOf({ env }), []);
  }
});

Deno.test("loadConfig() refuses published credentials in production, where they are used (ruling 1.3)", () => {
  const names = (world: World) => mistakesOf(world).map((mistake) => mistake.split(" ")[0]);
  assert.deepEqual(names({ service: "api-server" }), ["admin.password", "auth.signing_key"]);
  assert.deepEqual(names({ service: "smtp-server" }), []);
  assert.deepEqual(names({ service: "api-server", env: { SMTP_PROXY_ENVIRONMENT: "development" } }), []);
  const own = { SMTP_PROXY_ADMIN_PASSWORD: "correct horse", SMTP_PROXY_AUTH_SIGNING_KEY: "k".repeat(32) };
  assert.deepEqual(names({ service: "api-server", env: own }), []);
  const short = { ...own, SMTP_PROXY_AUTH_SIGNING_KEY: "k".repeat(31) };
  assert.deepEqual(names({ service: "api-server", env: short }), ["auth.signing_key"]);
});

Deno.test("loadConfig() chooses defaults by environment", () => {
  const development = load({ env: { SMTP_PROXY_ENVIRONMENT: "development" } }).config;
  assert.equal(development.delivery.withoutProvider, "stdout");
  assert.equal(development.requireGroupDomains, false);
  assert.equal(load().config.delivery.withoutProvider, "wait");
  assert.equal(load().config.requireGroupDomains, true);
});

Deno.test("loadConfig() refuses settings that contradict each other", () => {
  const cases: readonly [Record<string, string>, RegExp, Service?][] = [
    [{ QUEUE_LEASE: "30s" }, /queue\.lease must be longer/],
    [{ TLS_CERT_FILE: "/c" }, /tls\.key_file is empty/],
    [{ STORAGE_TYPE: "s3" }, /storage\.s3_bucket is empty/],
    [{ STORAGE_TYPE: "s3", STORAGE_S3_BUCKET: "A" }, /storage\.s3_bucket is no name of a bucket/],
    [{ STORAGE_S3_BUCKET: "mail", STORAGE_S3_ENDPOINT: "minio:9000" }, /storage\.s3_endpoint is not like/],
    [{ STORAGE_S3_BUCKET: "mail", STORAGE_S3_PREFIX: "/a/" }, /storage\.s3_prefix may hold/],
    [{ STORAGE_S3_ACCESS_KEY_ID: "AKID" }, /storage\.s3_secret_access_key is empty/],
    [{ STORAGE_S3_CREDENTIALS: "static" }, /storage\.s3_access_key_id is empty/],
    [{ STORAGE_S3_KMS_KEY_ID: "alias/a", STORAGE_S3_ENCRYPTION: "AES256" }, /s3_encryption is not aws:kms/],
    [{ RETENTION_ROWS: "24h" }, /retention\.rows must be longer than delivery\.max_age/],
    [{ RETENTION_ACTIVITIES: "23h" }, /retention\.activities must be a day at least, or 0/],
    [{ QUEUE_LEASE: "46s" }, /queue\.lease must be longer than 46500 ms/],
    [{ SMTP_MAX_RECIPIENTS: "32768" }, /from 1 to 32767/],
    [{ SMTP_HOSTNAME: "two words" }, /smtp\.hostname is not a host name/],
    [{ SMTP_HOSTNAME: "a\r\n250 b" }, /smtp\.hostname is not a host name/],
    [{ SMTP_PORT: "465" }, /smtp\.port and smtp\.implicit_tls_port are the same port/],
    [{ SMTP_PORT: "9589", INSTANCE: "2" }, /smtp\.port and smtp\.ops_port are the same port/],
    [{ WORKER_OPS_PORT: "65535", INSTANCE: "1" }, /above 65535/, "queue-worker"],
    [{ SMTP_PROXY_PROTOCOL: "on" }, /trusted_networks names nobody/],
    [{ SMTP_TRUSTED_NETWORKS: "10.0.0.0/40" }, /network such as/],
    [{ DELIVERY_RETRY_DELAYS: "1s,".repeat(21) }, /at most 20 items/],
    [{ QUEUE_REDIS_ADDR: "redis://x" }, /not host:port/],
    [{ SMTP_LISTENERS: "a" }, /at most 0/],
  ];
  for (const [env, expected, service = "smtp-server"] of cases) {
    const prefixed = Object.fromEntries(
      Object.entries(env).map(([name, value]) => [`SMTP_PROXY_${name}`, value]),
    );
    const mistakes = mistakesOf({ env: prefixed, service });
    assert.equal(mistakes.length, 1, mistakes.join());
    assert.match(mistakes.join(), expected);
  }
});

Deno.test("loadConfig() refuses a database URL with a wrong escape, and takes one with right ones", () => {
  for (const password of ["hu%zzsh", "hu%2", "hu%", "hu sh", "hu%ff"]) {
    const env = { SMTP_PROXY_DATABASE_URL: `postgres://u:${password}@db/x` };
    const mistakes = mistakesOf({ env }).join();
    assert.match(mistakes, /^database\.url has a blank or a % that begins no %XX/, password);
    assert.ok(!mistakes.includes("hu"), mistakes);
  }
  const url = "postgres://u:%40%2f%25%c3%a9@db/x";
  assert.equal(load({ env: { SMTP_PROXY_DATABASE_URL: url } }).config.database.url.reveal(), url);
});

Deno.test("loadConfig() refuses a database URL that cannot be read, and shows nothing of it", () => {
  for (const name of ["SMTP_PROXY_DATABASE_URL", "SMTP_PROXY_DATABASE_OWNER_URL"]) {
    for (const url of ["postgres://u:hush@db:port/x", "u:hush@db/x", "postgres://u:hush@[/x"]) {
      const mistakes = mistakesOf({ env: { [name]: url } });
      assert.equal(mistakes.length, 1, mistakes.join());
      assert.match(mistakes.join(), /^database\.(owner_)?url is not a URL/);
      assert.doesNotMatch(mistakes.join(), /hush/);
    }
  }
});

Deno.test("loadConfig() lets ports be 0 several times", () => {
  const env = {
    SMTP_PROXY_SMTP_PORT: "0",
    SMTP_PROXY_SMTP_IMPLICIT_TLS_PORT: "0",
    SMTP_PROXY_SMTP_OPS_PORT: "0",
  };
  assert.deepEqual(mistakesOf({ env }), []);
});

Deno.test("loadConfig() warns of variables that look like ours and are none", () => {
  const { warnings } = load({
    env: {
      SMTP_PROXY_SMTP_PROT: "1",
      SMTP_PROXY_DEV_DATA: ".data",
      SMTP_PROXY_TEST_REDIS: "x",
      SMTP_PROXY_PUBLISH: "0.0.0.0",
      SMTP_PROXY_CONFIG: "",
      SMTP_PROXY_SECRETS_KEYS_FILE: "",
      HOME: "/",
    },
  });
  assert.deepEqual(warnings, ["SMTP_PROXY_SMTP_PROT is not a setting"]);
});

Deno.test("loadConfig() gives settings that cannot be changed and show no secret", () => {
  const config = load().config as { -readonly [Key in keyof Config]: Config[Key] };
  assert.throws(() => config.instance = 4, TypeError);
  assert.throws(() => Object.assign(config.smtp, { port: 1 }), TypeError);
  assert.throws(() => (config.delivery.retryDelays as number[]).push(1), TypeError);
  assert.doesNotMatch(
    JSON.stringify(config) + Deno.inspect(config, { depth: 9 }),
    /smtp_proxy_dev|change-me/,
  );
});

Deno.test("settings mark every secret, and all have help", () => {
  const secrets = settingPaths.filter((path) => settings[path].secret);
  assert.deepEqual(secrets, [
    "database.url",
    "database.owner_url",
    "queue.redis_password",
    "storage.s3_secret_access_key",
    "storage.s3_session_token",
    "auth.signing_key",
    "auth.previous_signing_keys",
    "secrets.keys",
    "admin.password",
  ]);
  for (const path of settingPaths) assert.match(settings[path].help, /^[A-Z`].*[^.]$/, path);
});

Deno.test("settings hold every documented key", () => {
  const documented = [
    "smtp: host port max_connections read_timeout write_timeout max_message_size",
    "api: host port read_timeout write_timeout",
    "database: url pool_min pool_max connect_timeout",
    "logging: level format output file_path max_size_mb max_files cw_group cw_stream cw_region",
    "tls: mode cert_file key_file",
    "delivery: mode",
    "queue: redis_addr redis_password redis_db stream_name group_name consumer_id workers block_timeout",
    "auth: signing_key access_token_expiry refresh_token_expiry issuer audience",
    "rate_limit: default_monthly_limit login_attempts_limit login_lockout_duration",
    "storage: type path s3_bucket s3_prefix s3_endpoint s3_region",
    "admin: email password",
  ];
  const paths = documented.flatMap((line) => {
    const [section, ...keys] = line.split(/:? /);
    return keys.map((key) => `${section}.${key}`);
  });
  assert.equal(paths.length, 51);
  assert.deepEqual(paths.filter((path) => !Object.hasOwn(settings, path)), []);
});
