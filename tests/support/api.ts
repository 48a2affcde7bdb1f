import { loadConfig } from "../../lib/config/load.ts";
import { Secret } from "../../lib/config/secret.ts";
import type { EspIo } from "../../lib/esp/esp.ts";
import { createEndpointGuard, createGuard } from "../../lib/network/guard.ts";
import { type GroupId, newId, type UserId } from "../../lib/ids.ts";
import { type Database, openDatabase, openSession } from "../../lib/postgres/database.ts";
import { newKeyText } from "../../lib/secrets/seal.ts";
import { openPostgresQueue } from "../../lib/queue/postgres_queue.ts";
import type { MessageStore } from "../../lib/store/message_store.ts";
import { PasswordVerifier } from "../../lib/users/password_verifier.ts";
import { hashPassword } from "../../lib/users/password.ts";
import { type App, createApp } from "../../services/api-server/app.ts";
import type { Operation } from "../../services/api-server/operation.ts";
import { mailPartsOf } from "../../services/api-server/mail_parts.ts";
import { type OpenedParts, openParts } from "../../services/api-server/open_parts.ts";
import type { Databases, OnReport } from "../../services/api-server/parts.ts";
import type { ProviderConfig } from "../../services/api-server/provider_parts.ts";
import { apiOperations } from "../../services/api-server/resources/catalog.ts";
import { type MemoryLog, memoryLog } from "./memory_log.ts";
import { type TestDatabase, testDatabase } from "./postgres.ts";

/** What a test may set otherwise. */
export interface TestApiOptions {
  readonly requireGroupDomains?: boolean;
  readonly corsOrigins?: readonly string[];
  readonly trustedNetworks?: readonly string[];
  readonly maxBody?: number;
  readonly attempts?: number;
  /** At once when not given. */
  readonly failure?: OpenedParts["failure"];
  /** Where bodies are; without it the store is down. */
  readonly store?: Pick<MessageStore, "get">;
  /** What ESPs and webhooks see of the world; everything but its `fetch` is as in development. */
  readonly io?: Partial<EspIo>;
  /** In the form of `secrets.keys`. */
  readonly sealingKeys?: string;
  readonly allowedEndpoints?: readonly string[];
  readonly allowedRoles?: readonly string[];
  readonly testTimeoutMs?: number;
}

/** One answer, its JSON read. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- what an answer holds is what the test says it holds
  readonly body: any;
}

/** One question to the API. */
export interface Question {
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly address?: string;
}

/** The API over a database of its own. */
export interface TestApi extends AsyncDisposable {
  readonly app: App;
  readonly api: readonly Operation[];
  readonly databases: Databases;
  readonly database: TestDatabase;
  /** What was thrown and was no refusal. */
  readonly faults: readonly unknown[];
  /** What was told of reports: the kind, what became of it, how many events were new. */
  readonly reports: readonly Parameters<OnReport>[];
  readonly log: MemoryLog;
  ask(method: string, path: string, question?: Question): Promise<Answer>;
  /** Logs in; throws unless it succeeds. */
  login(email: string, group?: string): Promise<string>;
}

/** The password of everybody whom `addPerson` creates. */
export const testPassword = "correct horse";
let testHash: Promise<string> | undefined;

/** Opens the whole app on a copy of the migrated schema, without a socket. */
export async function testApi(options: TestApiOptions = {}): Promise<TestApi> {
  const database = await testDatabase();
  const opened: Database[] = [];
  const open = (role: "smtp_proxy_group" | "smtp_proxy_login" | "smtp_proxy_admin") => {
    const pool = openDatabase({ url: database.urlFor(role), role, poolMax: 6, connectTimeoutMs: 60_000 });
    opened.push(pool);
    return pool;
  };
  const databases = {
    login: open("smtp_proxy_login"),
    group: open("smtp_proxy_group"),
    admin: open("smtp_proxy_admin"),
  };
  const faults: unknown[] = [];
  const reports: Parameters<OnReport>[] = [];
  const log = memoryLog();
  const providers = providerConfig(options);
  const passwords = new PasswordVerifier();
  const mail = mailPartsOf({
    store: () => {
      if (options.store === undefined) throw new Error("The store is down");
      const { store } = options;
      return Promise.resolve({
        get: (ref) => store.get(ref),
        checkThere: () => Promise.resolve(),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      });
    },
    queue: () => Promise.resolve(openPostgresQueue({ database: databases.admin, timeoutMs: 60_000 })),
    onFault: (error) => faults.push(error),
    waitMs: 60_000,
  });
  const { parts, authenticate } = openParts({
    ...providers,
    retention: {
      delivered: 604_800_000,
      failed: 2_592_000_000,
      rows: 7_776_000_000,
      activities: 31_536_000_000,
    },
    requireGroupDomains: options.requireGroupDomains ?? true,
    rateLimit: {
      defaultMonthlyLimit: 10_000,
      loginAttemptsLimit: options.attempts ?? 5,
      loginLockoutDuration: 900_000,
    },
    auth: {
      signingKey: new Secret("a signing key of thirty-two bytes or more"),
      previousSigningKeys: new Secret(""),
      accessTokenExpiry: 900_000,
      refreshTokenExpiry: 604_800_000,
      issuer: "smtp-proxy",
      audience: "smtp-proxy-api",
    },
  }, {
    databases,
    passwords,
    mail,
    log,
    io: { ...testIo(options), ...options.io },
    failure: options.failure ?? { failAfterMs: 0 },
    onFault: (error) => faults.push(error),
    onReport: (...report) => reports.push(report),
  });
  const api = apiOperations(parts);
  const app = createApp({
    operations: () => Promise.resolve(undefined),
    api,
    authenticate,
    limits: {
      maxBody: options.maxBody ?? 1 << 20,
      readTimeout: 60_000,
      writeTimeout: 120_000,
      trustedNetworks: options.trustedNetworks ?? [],
      corsOrigins: options.corsOrigins ?? [],
    },
    onRequest: () => {},
    onFault: (error) => faults.push(error),
  });
  const ask = (method: string, path: string, question: Question = {}) => askApp(app, method, path, question);
  return {
    app,
    api,
    databases,
    database,
    faults,
    reports,
    log,
    ask,
    async login(email, group) {
      const body = { email, password: testPassword, ...(group === undefined ? {} : { "group_id": group }) };
      const answer = await ask("POST", "/api/v1/auth/login", { body });
      if (answer.status !== 200) throw new Error(`Cannot log in as ${email}: ${JSON.stringify(answer.body)}`);
      return answer.body["access_token"];
    },
    async [Symbol.asyncDispose]() {
      passwords[Symbol.dispose]();
      await mail[Symbol.asyncDispose]();
      for (const pool of opened) await pool[Symbol.asyncDispose]();
      await database[Symbol.asyncDispose]();
    },
  };
}

/** The world as it is in development, without connections that are kept. */
function testIo({ allowedEndpoints = [] }: TestApiOptions): EspIo {
  const callable = { allowedNetworks: [], allowedPorts: [], development: true };
  return {
    fetch,
    now: () => new Date(),
    guard: createGuard(callable),
    guardEndpoint: createEndpointGuard({ ...callable, allowedOrigins: allowedEndpoints }),
    callTimeoutMs: 60_000,
    answerTimeoutMs: 60_000,
    print: () => {},
    showText: true,
  };
}

function providerConfig(options: TestApiOptions): ProviderConfig {
  const given: Readonly<Record<string, string>> = {
    SMTP_PROXY_ENVIRONMENT: "development",
    SMTP_PROXY_SECRETS_KEYS: options.sealingKeys ?? newKeyText("test"),
    SMTP_PROXY_DELIVERY_CALL_TIMEOUT: `${options.testTimeoutMs ?? 60_000}ms`,
    SMTP_PROXY_ESP_ALLOWED_ENDPOINTS: options.allowedEndpoints?.join(",") ?? "",
    SMTP_PROXY_ESP_ALLOWED_ROLES: options.allowedRoles?.join(",") ?? "",
  };
  return loadConfig({
    service: "api-server",
    args: [],
    env: (name) => given[name],
    readFile: () => undefined,
    parseFile: () => ({ content: {}, problems: [] }),
  }).config;
}

async function askApp(app: App, method: string, path: string, question: Question): Promise<Answer> {
  const { token, body, headers = {}, address = "192.0.2.10" } = question;
  const request = new Request(`http://api.test${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const response = await app(request, { remoteAddress: address });
  const text = await response.text();
  const isJson = text !== "" && response.headers.get("content-type")?.startsWith("application/json") === true;
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** A group, as the superuser makes it. */
export async function addGroup(
  { database }: Pick<TestApi, "database">,
  name: string,
  type: "company" | "system" = "company",
): Promise<GroupId> {
  const id = newId<GroupId>();
  await using session = await openSession({ url: database.ownerUrl });
  await session.query(
    `insert into groups (id, name, group_type, allowed_domains, monthly_limit) values ($1, $2, $3, '["*"]', 0)`,
    [id, name, type],
  );
  return id;
}

/** A person in a group, as the superuser makes them, with `testPassword`. */
export async function addPerson(
  { database }: Pick<TestApi, "database">,
  email: string,
  memberships: readonly (readonly [group: string, role: string])[],
  passwordHash?: string,
): Promise<UserId> {
  const id = newId<UserId>();
  const hash = passwordHash ?? await (testHash ??= hashPassword(testPassword));
  await using session = await openSession({ url: database.ownerUrl });
  await session.query("insert into users (id, email, password_hash) values ($1, $2, $3)", [id, email, hash]);
  for (const [group, role] of memberships) {
    await session.query(
      "insert into group_members (group_id, user_id, account_type, role) values ($1, $2, 'human', $3)",
      [group, id, role],
    );
  }
  return id;
}
