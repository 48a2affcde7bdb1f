import assert from "node:assert/strict";
import { z } from "@hono/zod-openapi";
import type { GroupId, UserId } from "../../lib/ids.ts";
import { Refusal } from "../../lib/refusal.ts";
import { createMetrics } from "../../lib/telemetry/metrics.ts";
import { metricsReaders, opsHandler } from "../../lib/telemetry/ops.ts";
import { type AppLimits, createApp } from "./app.ts";
import { operation, publicOperation } from "./operation.ts";

const thing = z.object({ name: z.string(), size: z.number() });
const things = [
  publicOperation({
    method: "post",
    path: "/api/v1/things",
    tag: "things",
    summary: "Make a thing",
    body: z.strictObject({ name: z.string().min(1, "name is required"), size: z.number().default(1) }),
    answer: { status: 201, schema: thing },
    handle: ({ body }) => Promise.resolve(body),
  }),
  publicOperation({
    method: "get",
    path: "/api/v1/things/{id}",
    tag: "things",
    summary: "One thing",
    params: z.object({ id: z.guid({ error: "invalid thing ID format" }) }),
    answer: { status: 200, schema: thing },
    handle: ({ params, call }) => {
      if (params.id.startsWith("0")) throw new Error("a bug");
      return Promise.resolve({ name: call.address, size: 0 });
    },
  }),
  publicOperation({
    method: "post",
    path: "/api/v1/hooks",
    tag: "things",
    summary: "Take any bytes",
    bodyTypes: ["*/*"],
    answer: { status: 200, schema: z.array(z.number()) },
    handle: ({ bytes }) => Promise.resolve([...bytes]),
  }),
  operation({
    action: "users:write",
    method: "delete",
    path: "/api/v1/things/{id}",
    tag: "things",
    summary: "Remove a thing",
    params: z.object({ id: z.string() }),
    handle: () => Promise.resolve(),
  }),
];

function testApp(limits: Partial<AppLimits> = {}) {
  const seen: unknown[] = [];
  const faults: unknown[] = [];
  const app = createApp({
    operations: opsHandler({
      metrics: createMetrics(),
      ready: () => Promise.resolve({ ready: false, down: ["database"] }),
      onFault: (error) => assert.fail(String(error)),
      mayReadMetrics: metricsReaders([]),
    }),
    api: things,
    authenticate: (headers) => {
      const grade = headers.get("authorization");
      if (grade !== "owner" && grade !== "member") {
        return Promise.reject(new Refusal("credentials_wrong", "no"));
      }
      const [user, group] = ["u" as UserId, "g" as GroupId];
      return Promise.resolve({
        kind: "person",
        user,
        email: "",
        session: "s",
        home: group,
        group,
        grade,
        named: false,
      });
    },
    limits: {
      maxBody: 100,
      readTimeout: 60_000,
      writeTimeout: 60_000,
      trustedNetworks: [],
      corsOrigins: [],
      ...limits,
    },
    onRequest: (method, route, status) => seen.push([method, route, status]),
    onFault: (error) => faults.push(error),
  });
  return {
    ask: (path: string, init: RequestInit = {}, remoteAddress = "127.0.0.1") =>
      app(new Request(`http://x${path}`, init), { remoteAddress }),
    post: (body: BodyInit, type: string | undefined = "application/json") =>
      app(
        new Request("http://x/api/v1/things", { method: "POST", body, headers: { "content-type": type } }),
        { remoteAddress: "127.0.0.1" },
      ),
    seen,
    faults,
  };
}

const someId = "1".repeat(8) + "-1111-7111-8111-111111111111";

Deno.test("createApp() answers health and readiness, and metrics to loopback alone", async () => {
  const { ask, seen } = testApp();
  assert.equal((await ask("/healthz")).status, 200);
  assert.equal((await ask("/readyz")).status, 503);
  assert.equal((await ask("/metrics")).status, 200);
  assert.equal((await ask("/metrics", {}, "192.0.2.1")).status, 403);
  assert.deepEqual(seen, [
    ["GET", "/healthz", 200],
    ["GET", "/readyz", 503],
    ["GET", "/metrics", 200],
    ["GET", "/metrics", 403],
  ]);
});

Deno.test("createApp() answers 404 in the documented shape and never names the path to metrics", async () => {
  const { ask, seen } = testApp();
  const response = await ask("/api/v1/secret");
  assert.equal(response.status, 404);
  const body = await response.json() as Record<string, string>;
  assert.deepEqual(Object.keys(body), ["error", "code", "correlation_id"]);
  assert.equal(body["code"], "not_found");
  assert.equal(response.headers.get("x-correlation-id"), body["correlation_id"]);
  assert.deepEqual(seen, [["GET", "none", 404]]);
});

Deno.test("createApp() refuses other methods, other types, what is not JSON and what is too large", async () => {
  const { ask, post } = testApp();
  const put = await ask("/api/v1/things", { method: "PUT" });
  assert.equal(put.headers.get("allow"), "POST");
  const codes = [];
  for (
    const response of [
      await ask("/api/v1/things", { method: "PUT" }),
      await post("{}", "text/plain"),
      await post("{"),
      await post(""),
      await post("x".repeat(101)),
      await post(
        new ReadableStream({
          pull: (controller) => controller.enqueue(new Uint8Array(60)),
        }),
      ),
    ]
  ) {
    const { code } = await response.json() as { code: string };
    codes.push([response.status, code]);
  }
  assert.deepEqual(codes, [
    [405, "method_not_allowed"],
    [415, "media_type_unsupported"],
    [400, "request_invalid"],
    [400, "request_invalid"],
    [413, "request_too_large"],
    [413, "request_too_large"],
  ]);
});

Deno.test("createApp() names the field at fault, and refuses fields and parameters that nobody documented", async () => {
  const { ask, post } = testApp();
  const answers = [];
  for (
    const response of [
      await post(`{"name":""}`),
      await post(`{"name":"a","colour":"red"}`),
      await ask("/api/v1/things/x"),
      await ask(`/api/v1/things/${someId}?x=1`),
    ]
  ) {
    const { error, field } = await response.json() as { error: string; field?: string };
    answers.push([response.status, error, field]);
  }
  assert.deepEqual(answers, [
    [400, "name is required", "name"],
    [400, 'Unrecognized key: "colour"', undefined],
    [400, "invalid thing ID format", "id"],
    [400, "this call takes no query parameters", undefined],
  ]);
  const made = await post(`{"name":"a"}`);
  assert.deepEqual([made.status, await made.json()], [201, { name: "a", size: 1 }]);
});

Deno.test("createApp() hands bytes on as they arrived where an operation takes them", async () => {
  const { ask } = testApp();
  for (const type of ["application/json", "text/plain", "application/octet-stream"]) {
    const init = { method: "POST", body: new Uint8Array([0xff, 0x7b, 0]), headers: { "content-type": type } };
    assert.deepEqual(await (await ask("/api/v1/hooks", init)).json(), [0xff, 0x7b, 0]);
  }
});

Deno.test("createApp() asks who it is before it looks at the request, and what the role allows", async () => {
  const { ask } = testApp();
  const remove = (authorization: string) =>
    ask("/api/v1/things/x", { method: "DELETE", headers: { authorization } });
  assert.equal((await remove("nobody")).status, 401);
  assert.equal((await remove("member")).status, 403);
  const done = await remove("owner");
  assert.deepEqual([done.status, await done.text()], [204, ""]);
});

Deno.test("createApp() tells a bug by its correlation id alone", async () => {
  const { ask, faults } = testApp();
  const headers = { "x-correlation-id": "from-the-client.1" };
  const response = await ask(`/api/v1/things/0${someId.slice(1)}`, { headers });
  assert.equal(response.status, 500);
  assert.deepEqual(await response.json(), {
    error: "internal server error",
    code: "internal",
    correlation_id: "from-the-client.1",
  });
  assert.equal(faults.length, 1);
  const odd = await ask("/api/v1/none", { headers: { "x-correlation-id": "a b<script>" } });
  assert.match(odd.headers.get("x-correlation-id") ?? "", /^[0-9a-f-]{36}$/);
});

Deno.test("createApp() believes X-Forwarded-For of trusted proxies alone", async () => {
  const { ask } = testApp({ trustedNetworks: ["10.0.0.0/8"] });
  const headers = { "x-forwarded-for": "203.0.113.9, 198.51.100.7, 10.1.1.1" };
  const nameFrom = async (peer: string) => {
    const { name } = await (await ask(`/api/v1/things/${someId}`, { headers }, peer)).json() as {
      name: string;
    };
    return name;
  };
  assert.equal(await nameFrom("10.2.2.2"), "198.51.100.7");
  assert.equal(await nameFrom("192.0.2.1"), "192.0.2.1");
});

Deno.test("createApp() lets pages of no other origin call, unless one is configured", async () => {
  const headers = { origin: "https://a.example" };
  const closed = await testApp().ask(`/api/v1/things/${someId}`, { headers });
  assert.equal(closed.headers.get("access-control-allow-origin"), null);
  const { ask } = testApp({ corsOrigins: ["https://a.example"] });
  const open = await ask(`/api/v1/things/${someId}`, { headers });
  assert.equal(open.headers.get("access-control-allow-origin"), "https://a.example");
  const preflight = await ask("/api/v1/things", { method: "OPTIONS", headers });
  assert.equal(preflight.status, 204);
  const other = await ask("/api/v1/things", { method: "OPTIONS", headers: { origin: "https://b.example" } });
  assert.equal(other.headers.get("access-control-allow-origin"), null);
});

Deno.test("createApp() serves the document and a page that shows it, without a script, under strict headers", async () => {
  const { ask } = testApp();
  const document = await (await ask("/openapi.json")).json() as { openapi: string; paths: object };
  assert.equal(document.openapi, "3.1.0");
  assert.deepEqual(Object.keys(document.paths), [
    "/api/v1/things",
    "/api/v1/things/{id}",
    "/api/v1/hooks",
  ]);
  const page = await ask("/docs");
  const html = await page.text();
  assert.match(html, /Remove a thing/);
  assert.doesNotMatch(html, /<script|https?:\/\//);
  assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'none'/);
  assert.equal(page.headers.get("x-content-type-options"), "nosniff");
});
