import assert from "node:assert/strict";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";

async function ownerOf(api: TestApi, name = "acme") {
  const group = await addGroup(api, name);
  const user = await addPerson(api, `owner@${name}.example`, [[group, "owner"]]);
  return { group, user, token: await api.login(`owner@${name}.example`) };
}

function cursorOf(text: string): string {
  return new TextEncoder().encode(text).toBase64({ alphabet: "base64url", omitPadding: true });
}

Deno.test("a cursor that names no id is refused, whatever it looks like", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api);
  for (const id of ["-".repeat(36), "0".repeat(36), "0".repeat(8) + "-" + "0".repeat(27)]) {
    for (
      const [kind, path] of [
        ["users", "/api/v1/users"],
        ["members", `/api/v1/groups/${group}/members`],
        ["messages", "/api/v1/messages"],
        ["routing_rules", "/api/v1/routing-rules"],
        ["activity", `/api/v1/groups/${group}/activity`],
      ] as const
    ) {
      const answer = await api.ask("GET", `${path}?cursor=${cursorOf(`${kind} ${id}`)}`, { token });
      assert.deepEqual([answer.status, answer.body.field], [400, "cursor"], `${path} ${id}`);
    }
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("JSON nested beyond use is refused and not tried", async () => {
  await using api = await testApi();
  const { token } = await ownerOf(api);
  const deep = "[".repeat(100_000) + "]".repeat(100_000);
  for (
    const [path, body] of [
      ["/api/v1/providers", `{"name":"x","provider_type":"smtp","smtp_config":{"host":${deep}}}`],
      ["/api/v1/users", `{"email":${deep}}`],
      ["/api/v1/auth/login", deep],
    ] as const
  ) {
    const answer = await api.ask("POST", path, { token, body });
    assert.deepEqual([answer.status, answer.body.code], [400, "request_invalid"], path);
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("half a character is refused wherever a text is kept", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api);
  const half = "a\ud800b";
  const account = { email: "app@acme.example", "account_type": "smtp", username: "app" };
  const { id } = (await api.ask("POST", "/api/v1/users", { token, body: account })).body;
  const provider = { name: "p", "provider_type": "simulator" };
  const { id: providerId } = (await api.ask("POST", "/api/v1/providers", { token, body: provider })).body;
  for (
    const [method, path, body] of [
      ["PATCH", `/api/v1/groups/${group}`, { name: half }],
      ["POST", `/api/v1/groups/${group}/invitations`, { email: `${half}@x.example` }],
      ["PATCH", `/api/v1/users/${id}`, { username: half }],
      ["POST", "/api/v1/users", { ...account, email: "b@acme.example", username: half }],
      ["POST", `/api/v1/users/${id}/api-keys`, { name: half }],
      ["POST", "/api/v1/providers", { ...provider, name: half }],
      ["POST", "/api/v1/routing-rules", {
        "provider_id": providerId,
        conditions: { subject: { contains: half } },
      }],
      ["POST", "/api/v1/dlq/reprocess", { filter: { subject: half } }],
    ] as const
  ) {
    const answer = await api.ask(method, path, { token, body });
    assert.deepEqual([answer.status, answer.body.code], [400, "request_invalid"], `${method} ${path}`);
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("moments and days at the ends of time are answered", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api);
  for (
    const path of [
      "/api/v1/stats?since=0000-01-01&until=0000-01-01",
      "/api/v1/stats?since=9999-12-31&until=9999-12-31",
      "/api/v1/messages?since=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z",
      `/api/v1/groups/${group}/activity?since=0000-01-01T00:00:00Z&until=9999-12-31T23:59:59Z`,
      "/api/v1/dlq?until=0000-01-01T00:00:00Z",
    ]
  ) {
    assert.equal((await api.ask("GET", path, { token })).status, 200, path);
  }
  assert.deepEqual(api.faults, []);
});

Deno.test("a body without a content type is refused, not taken for an empty one", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api);
  for (const type of [undefined, "text/plain", "application/x-www-form-urlencoded", "application/json5"]) {
    const request = new Request(`http://api.test/api/v1/groups/${group}`, {
      method: "PATCH",
      headers: { authorization: `Bearer ${token}`, ...(type === undefined ? {} : { "content-type": type }) },
      body: new TextEncoder().encode(JSON.stringify({ name: "renamed" })),
    });
    const response = await api.app(request, { remoteAddress: "192.0.2.10" });
    assert.equal(response.status, 415, String(type));
    await response.body?.cancel();
  }
});

Deno.test("a call that takes no body refuses one", async () => {
  await using api = await testApi();
  const { token } = await ownerOf(api);
  const answer = await api.ask("GET", "/api/v1/users", { token });
  assert.equal(answer.status, 200);
  const made = await api.ask("POST", "/api/v1/providers", {
    token,
    body: { name: "p", "provider_type": "simulator" },
  });
  const paused = await api.ask("POST", `/api/v1/providers/${made.body.id}/pause`, {
    token,
    body: { until: "tomorrow" },
  });
  assert.deepEqual([paused.status, paused.body.code], [400, "request_invalid"]);
});
