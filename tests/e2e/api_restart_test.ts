import assert from "node:assert/strict";
import { join } from "node:path";
import { newKeyText } from "../../lib/secrets/seal.ts";
import { until } from "../../services/dev/processes.ts";
import { KeptConnection, requestBytes } from "../support/kept_connection.ts";
import { freePort } from "../support/ports.ts";
import { ServiceProcess } from "../support/service_process.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";
import { startTcpBalancer } from "../support/tcp_balancer.ts";
import { loginUrl } from "../support/test_server.ts";

const clients = 8;
const credentials = { email: "admin@localhost", password: "admin" };

/** What clients saw of a server that is restarted while they ask. */
interface Seen {
  answered: number;
  made: number;
  /** Connections that a server asked to be given up. */
  moved: number;
  readonly failures: string[];
}

async function logIn(port: number): Promise<string> {
  using connection = await KeptConnection.open(port);
  const answer = await connection.ask(requestBytes("POST", "/api/v1/auth/login", { body: credentials }));
  assert.equal(answer?.status, 200);
  return JSON.parse(answer?.body ?? "")["access_token"];
}

async function makeProvider(port: number, token: string): Promise<string> {
  using connection = await KeptConnection.open(port);
  const body = { name: "p", "provider_type": "stdout" };
  const answer = await connection.ask(requestBytes("POST", "/api/v1/providers", { token, body }));
  assert.equal(answer?.status, 201);
  return JSON.parse(answer?.body ?? "")["id"];
}

/** Asks on one connection until it is to be given up; what was not answered at all is asked again by the next. */
async function askOn(port: number, requests: Iterator<Uint8Array>, seen: Seen, isOver: () => boolean) {
  using connection = await KeptConnection.open(port);
  while (!isOver()) {
    const request = requests.next().value;
    const answer = await connection.ask(request);
    if (answer === undefined) {
      seen.failures.push("a connection was ended without an answer");
      return;
    }
    seen.answered++;
    if (answer.status === 201) seen.made++;
    else if (answer.status !== 200) seen.failures.push(`${answer.status} ${answer.body}`);
    if (answer.closes) {
      seen.moved++;
      return;
    }
  }
}

function* requestsOf(token: string, provider: string): Generator<Uint8Array, never> {
  const read = requestBytes("GET", "/api/v1/auth/me", { token });
  const body = { priority: 1, enabled: false, "provider_id": provider };
  const rule = requestBytes("POST", "/api/v1/routing-rules", { token, body });
  for (let n = 1;; n++) yield n % 50 === 0 && n < 5_000 ? rule : read;
}

async function withTwoServers(
  test: (system: TestSystem, second: ServiceProcess, ports: number[]) => Promise<void>,
) {
  const shared = {
    SMTP_PROXY_SECRETS_KEYS: newKeyText("test"),
    // Longer than anything here may stand still: whoever asks meanwhile is told to go elsewhere.
    SMTP_PROXY_API_SHUTDOWN_DELAY: "5s",
  };
  await withServices({ start: ["apiServer"], env: shared }, async (system) => {
    const folder = join(system.folder, "second");
    await Deno.mkdir(join(folder, "messages"), { recursive: true });
    const [port, opsPort] = [freePort(), freePort()];
    await using second = new ServiceProcess({
      task: "api-server",
      folder,
      opsPort,
      env: {
        ...shared,
        SMTP_PROXY_ENVIRONMENT: "development",
        SMTP_PROXY_STOP_WITH_PARENT: "true",
        SMTP_PROXY_API_HOST: "127.0.0.1",
        SMTP_PROXY_API_PORT: String(port),
        SMTP_PROXY_API_OPS_PORT: String(opsPort),
        SMTP_PROXY_STORAGE_PATH: join(folder, "messages"),
        SMTP_PROXY_DATABASE_URL: loginUrl(system.ownerUrl, "api_server"),
      },
    });
    await second.start();
    await test(system, second, [system.apiPort, port]);
  });
}

Deno.test("two api-servers behind one address are restarted in turn, and no request fails", async () => {
  await withTwoServers(async (system, second, ports) => {
    await using balancer = startTcpBalancer(ports);
    const token = await logIn(balancer.port);
    const provider = await makeProvider(balancer.port, token);
    const seen: Seen = { answered: 0, made: 0, moved: 0, failures: [] };
    let isOver = false;
    const load = Array.from({ length: clients }, async () => {
      const requests = requestsOf(token, provider);
      while (!isOver) await askOn(balancer.port, requests, seen, () => isOver);
    });
    for (const server of [system.apiServer, second, system.apiServer, second]) {
      const before = seen.answered;
      assert.ok(await until(() => seen.answered > before + 200, 60_000));
      assert.equal(await server.stop(), 0);
      // The other serves alone.
      const alone = seen.answered;
      assert.ok(await until(() => seen.answered > alone + 200, 60_000));
      await server.start();
    }
    isOver = true;
    await Promise.all(load);
    assert.deepEqual(seen.failures, []);
    assert.ok(seen.moved >= clients, `${seen.moved} connections moved`);
    assert.ok(balancer.given.every((count) => count > 0));
    const [row] = await rowsOf(system, "select count(*)::int as count from routing_rules");
    assert.equal(row?.["count"], seen.made);
    assert.ok(seen.made > 0);
  });
});

Deno.test("api-server answers what it has begun to read when it is told to stop, and then takes nothing new", async () => {
  const env = { SMTP_PROXY_API_READ_TIMEOUT: "1m" };
  await withServices({ start: ["apiServer"], env }, async (system) => {
    using connection = await KeptConnection.open(system.apiPort);
    const request = requestBytes("POST", "/api/v1/auth/login", { body: credentials });
    const half = request.length - 20;
    assert.ok(await connection.send(request.subarray(0, half)));
    // Answered only when the server has read what was sent before on the other connection too.
    await logIn(system.apiPort);
    const stopped = system.apiServer.stop();
    assert.ok(await until(async () => !(await system.apiServer.isReady()), 60_000));
    assert.ok(await connection.send(request.subarray(half)));
    const answer = await connection.answer();
    assert.equal(answer?.status, 200);
    assert.equal(answer?.closes, true);
    assert.equal(await stopped, 0);
    assert.ok(await isRefused(system.apiPort));
  });
});

async function isRefused(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return false;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return true;
    throw error;
  }
}
