import assert from "node:assert/strict";
import { findProviderEntry } from "../../lib/providers/provider_entries_table.ts";
import { allowOperatorCredentials } from "../../lib/providers/providers_table.ts";
import { newKeyText } from "../../lib/secrets/seal.ts";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";
import { FakeSendgrid } from "../support/fake_sendgrid.ts";
import { asSuperuser } from "../support/webhook_scene.ts";

const providers = "/api/v1/providers";

async function ownerOf(api: TestApi, name: string, role = "owner") {
  const group = await addGroup(api, name);
  await addPerson(api, `${role}@${name}.example`, [[group, role]]);
  return { group, token: await api.login(`${role}@${name}.example`) };
}

async function operatorOf(api: TestApi) {
  await addPerson(api, "root@operator.example", [[await addGroup(api, "system", "system"), "owner"]]);
  return await api.login("root@operator.example");
}

const relay = { host: "relay.example", port: 587, username: "u", password: "pässword" };

async function revisionOf(api: TestApi, group: string): Promise<number> {
  const [row] = await asSuperuser(api, "select revision from groups where id = $1", [group]);
  return Number(row?.["revision"]);
}

Deno.test("the documented calls make, show, change and remove a provider, and each change is told", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api, "alpha");
  const body = { name: "My SendGrid", "provider_type": "sendgrid", "api_key": "SG.secret-one" };
  const made = await api.ask("POST", providers, { token, body });
  assert.equal(made.status, 201);
  const { id, webhook_path: path, created_at: _c, updated_at: _u, ...rest } = made.body;
  assert.deepEqual(rest, {
    "group_id": group,
    name: "My SendGrid",
    "provider_type": "sendgrid",
    "smtp_config": {},
    "secrets_set": ["api_key"],
    enabled: true,
    "paused_at": null,
    "operator_credentials": false,
    "needs_attention": null,
  });
  assert.match(path, /^\/api\/v1\/webhooks\/sendgrid\/[0-9a-f-]{36}$/);
  assert.deepEqual((await api.ask("GET", `${providers}/${id}`, { token })).body, made.body);
  assert.deepEqual((await api.ask("GET", providers, { token })).body, [made.body]);
  const put = {
    name: "Renamed",
    "provider_type": "sendgrid",
    "smtp_config": { region: "eu" },
    enabled: false,
  };
  const changed = await api.ask("PUT", `${providers}/${id}`, { token, body: put });
  assert.deepEqual(
    [changed.status, changed.body.enabled, changed.body.smtp_config, changed.body.secrets_set],
    [200, false, { region: "eu" }, ["api_key"]],
  );
  const renamed = await api.ask("PUT", `${providers}/${id}`, {
    token,
    body: { name: "Again", "provider_type": "sendgrid" },
  });
  assert.deepEqual([renamed.body.enabled, renamed.body.smtp_config], [false, { region: "eu" }]);
  const told = (await api.ask("GET", `/api/v1/groups/${group}/activity`, { token })).body;
  const actions = told.map((entry: { action: string }) => entry.action).filter((name: string) =>
    /^prov/.test(name)
  );
  assert.deepEqual(actions, ["provider.update", "provider.update", "provider.create"]);
  assert.doesNotMatch(JSON.stringify(told), /SG\.secret/);
  assert.equal((await api.ask("DELETE", `${providers}/${id}`, { token })).status, 204);
  assert.equal((await api.ask("DELETE", `${providers}/${id}`, { token })).status, 404);
  const gone = await api.ask("GET", `${providers}/${id}`, { token });
  assert.deepEqual([gone.status, gone.body.error], [404, "provider not found"]);
  assert.equal((await api.ask("PUT", `${providers}/${id}`, { token, body: put })).status, 404);
  assert.deepEqual(api.faults, []);
});

Deno.test("settings are those of the type's own schema, and an error names the field", async () => {
  await using api = await testApi();
  const { token } = await ownerOf(api, "alpha");
  const wrong: readonly (readonly [object, string, string?])[] = [
    [{ name: "x", "provider_type": "pigeon" }, "provider_type", "invalid provider_type"],
    [{ "provider_type": "smtp", "smtp_config": relay }, "name", "name is required"],
    [{ name: "x", "provider_type": "smtp", "smtp_config": { ...relay, port: 99_999 } }, "smtp_config.port"],
    [{ name: "x", "provider_type": "smtp", "smtp_config": { ...relay, hots: "a" } }, "smtp_config.hots"],
    [{ name: "x", "provider_type": "smtp", "smtp_config": { port: 25 } }, "smtp_config.host"],
    [{ name: "x", "provider_type": "sendgrid" }, "api_key"],
    [{ name: "x", "provider_type": "sendgrid", "api_key": "has a space" }, "api_key"],
    [{ name: "x", "provider_type": "smtp", "smtp_config": [] }, "smtp_config"],
    [
      {
        name: "x",
        "provider_type": "sendgrid",
        "api_key": "k",
        "smtp_config": { webhook: { "public_key": "x" } },
      },
      "smtp_config.webhook.public_key",
    ],
  ];
  for (const [body, field, sentence] of wrong) {
    const answer = await api.ask("POST", providers, { token, body });
    assert.deepEqual([answer.status, answer.body.field], [400, field], JSON.stringify(answer.body));
    if (sentence !== undefined) assert.equal(answer.body.error, sentence);
    assert.doesNotMatch(JSON.stringify(answer.body), /pässword|has a space/);
  }
  const half = { name: "x", "provider_type": "smtp", "smtp_config": { ...relay, name: "a\ud800" } };
  assert.equal((await api.ask("POST", providers, { token, body: half })).status, 400);
  assert.deepEqual(api.faults, []);
});

Deno.test("secrets are sealed, never answered, kept when left out, replaced when given and removed by null", async () => {
  await using api = await testApi();
  const { token } = await ownerOf(api, "alpha");
  const body = { name: "relay", "provider_type": "smtp", "smtp_config": relay };
  const made = await api.ask("POST", providers, { token, body });
  assert.deepEqual(made.body.smtp_config, { host: "relay.example", port: 587, username: "u" });
  assert.deepEqual(made.body.secrets_set, ["password"]);
  const stored = async () => {
    const [row] = await asSuperuser(api, "select settings::text, secrets, key_id from esp_providers", []);
    return row ?? {};
  };
  const before = await stored();
  const sealed = new TextDecoder("latin1").decode(before["secrets"] as Uint8Array);
  assert.doesNotMatch(`${before["settings"]} ${sealed}`, /p.{1,2}ssword/);
  assert.equal(before["key_id"], "test");
  const { password: _, ...open } = relay;
  const put = (config: object) =>
    api.ask("PUT", `${providers}/${made.body.id}`, {
      token,
      body: { name: "relay", "provider_type": "smtp", "smtp_config": config },
    });
  assert.deepEqual((await put({ ...open, name: "mail.example" })).body.secrets_set, ["password"]);
  assert.deepEqual((await put({ ...open, password: "other" })).body.secrets_set, ["password"]);
  const { username: __, ...anonymous } = open;
  assert.deepEqual((await put({ ...anonymous, password: null })).body.secrets_set, []);
  assert.equal((await stored())["secrets"], null);
  const answers = JSON.stringify([made.body, (await api.ask("GET", providers, { token })).body]);
  assert.doesNotMatch(answers, /pässword|other/);
});

Deno.test("a secret goes to nobody but whom it was given for: another target needs it anew", async () => {
  await using service = await FakeSendgrid.open();
  const origin = service.http.origin;
  await using api = await testApi({ allowedEndpoints: [origin] });
  const { token } = await ownerOf(api, "alpha");
  const { password: _, ...open } = relay;
  const kept = { name: "relay", "provider_type": "smtp", "smtp_config": relay };
  const { id } = (await api.ask("POST", providers, { token, body: kept })).body;
  const put = (id: string, body: object) => api.ask("PUT", `${providers}/${id}`, { token, body });
  const others: readonly (readonly [string, object])[] = [
    ["host", { host: "evil.example" }],
    ["port", { port: 2525 }],
    ["tls", { tls: "none" }],
    ["tls_verify", { "tls_verify": false }],
    ["ca", { ca: "-----BEGIN CERTIFICATE-----" }],
    ["endpoint", { endpoint: "evil.example:587" }],
  ];
  for (const [key, change] of others) {
    const config = { ...open, ...change };
    const refused = await put(id, { ...kept, "smtp_config": config });
    assert.deepEqual(
      [refused.status, refused.body.code, refused.body.field],
      [400, "secret_required", "smtp_config.password"],
      key,
    );
    assert.match(refused.body.error, new RegExp(`smtp_config\\.${key} changes`));
    assert.doesNotMatch(JSON.stringify(refused.body), /pässword/);
  }
  const same = await put(id, { ...kept, "smtp_config": { ...open, tls: "starttls" } });
  assert.deepEqual([same.status, same.body.secrets_set], [200, ["password"]], "what it is by default");
  const anew = await put(id, { ...kept, "smtp_config": { ...relay, host: "other.example" } });
  assert.deepEqual([anew.status, anew.body.smtp_config.host], [200, "other.example"]);
  const { username: __, ...anonymous } = open;
  const without = await put(id, {
    ...kept,
    "smtp_config": { ...anonymous, host: "c.example", password: null },
  });
  assert.deepEqual([without.status, without.body.secrets_set], [200, []]);

  const sendgrid = { name: "sg", "provider_type": "sendgrid", "api_key": "SG.x" };
  const { id: second } = (await api.ask("POST", providers, { token, body: sendgrid })).body;
  const { api_key: ___, ...bare } = sendgrid;
  const moved = await put(second, { ...bare, "smtp_config": { endpoint: origin } });
  assert.deepEqual([moved.status, moved.body.code, moved.body.field], [400, "secret_required", "api_key"]);
  assert.equal((await put(second, { ...bare, "smtp_config": { region: "eu" } })).status, 200);
  assert.equal((await put(second, { ...sendgrid, "smtp_config": { endpoint: origin } })).status, 200);
  assert.deepEqual(api.faults, []);
});

Deno.test("where no key opens the secrets, they are neither shown nor lost by a change that leaves them out", async () => {
  const keys = newKeyText("one");
  await using api = await testApi({ sealingKeys: keys });
  const { token } = await ownerOf(api, "alpha");
  const body = { name: "a", "provider_type": "sendgrid", "api_key": "SG.x" };
  const { id } = (await api.ask("POST", providers, { token, body })).body;
  await asSuperuser(api, "update esp_providers set key_id = 'lost'");
  assert.equal((await api.ask("GET", `${providers}/${id}`, { token })).body.secrets_set, null);
  const put = await api.ask("PUT", `${providers}/${id}`, {
    token,
    body: { name: "b", "provider_type": "sendgrid" },
  });
  assert.deepEqual([put.status, put.body.code], [409, "secrets_unreadable"]);
});

Deno.test("where the server has no key, no secret is taken", async () => {
  await using api = await testApi({ sealingKeys: "" });
  const { token } = await ownerOf(api, "alpha");
  const body = { name: "a", "provider_type": "sendgrid", "api_key": "SG.x" };
  const refused = await api.ask("POST", providers, { token, body });
  assert.deepEqual([refused.status, refused.body.code], [409, "secrets_unreadable"]);
  const open = { name: "a", "provider_type": "simulator" };
  assert.equal((await api.ask("POST", providers, { token, body: open })).status, 201);
});

Deno.test("allowOperatorCredentials() is for the settings that the administrator saw", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api, "alpha");
  const body = { name: "a", "provider_type": "simulator" };
  const { id } = (await api.ask("POST", providers, { token, body })).body;
  const versionOf = async () =>
    (await api.databases.group.forGroup(group, (sql) => findProviderEntry(sql, group, id)))?.version;
  const seen = await versionOf();
  await api.ask("PUT", `${providers}/${id}`, { token, body: { ...body, name: "b" } });
  const { system } = api.databases.admin;
  assert.equal(await allowOperatorCredentials(system, id, true, seen), false);
  assert.equal(await allowOperatorCredentials(system, id, true, await versionOf()), true);
});

Deno.test("every change reaches workers by the group's revision, and only its own group's", async () => {
  await using api = await testApi();
  const { group, token } = await ownerOf(api, "alpha");
  const other = await ownerOf(api, "beta");
  const untouched = await revisionOf(api, other.group);
  let last = await revisionOf(api, group);
  const grows = async (status: number) => {
    const now = await revisionOf(api, group);
    assert.ok(now > last);
    last = now;
    return status;
  };
  const body = { name: "a", "provider_type": "simulator" };
  const made = await api.ask("POST", providers, { token, body });
  assert.equal(await grows(made.status), 201);
  const one = `${providers}/${made.body.id}`;
  assert.equal(
    await grows((await api.ask("PUT", one, { token, body: { ...body, enabled: false } })).status),
    200,
  );
  const paused = await api.ask("POST", `${one}/pause`, { token });
  assert.equal(await grows(paused.status), 200);
  assert.match(paused.body.paused_at, /Z$/);
  assert.deepEqual((await api.ask("POST", `${one}/pause`, { token })).body, paused.body, "twice is once");
  const resumed = await api.ask("POST", `${one}/resume`, { token });
  assert.equal(await grows(resumed.status), 200);
  assert.equal(resumed.body.paused_at, null);
  assert.equal(await grows((await api.ask("DELETE", one, { token })).status), 204);
  assert.equal(await revisionOf(api, other.group), untouched);
});

Deno.test("an endpoint is for operators, or has an origin that they named; what they set stays", async () => {
  await using api = await testApi({ allowedEndpoints: ["https://mail.internal:8443"] });
  const { group, token } = await ownerOf(api, "alpha");
  const root = await operatorOf(api);
  const body = (endpoint: string, name = "a") => ({
    name,
    "provider_type": "sendgrid",
    "api_key": "SG.x",
    "smtp_config": { endpoint },
  });
  const refused = await api.ask("POST", providers, { token, body: body("https://evil.example") });
  assert.deepEqual([refused.status, refused.body.code, refused.body.field], [
    403,
    "setting_not_allowed",
    "smtp_config.endpoint",
  ]);
  assert.equal(
    (await api.ask("POST", providers, { token, body: body("https://mail.internal:8443/x") })).status,
    201,
  );
  const headers = { "x-group-id": group };
  const set = await api.ask("POST", providers, { token: root, headers, body: body("https://mine.example") });
  assert.equal(set.status, 201);
  const one = `${providers}/${set.body.id}`;
  assert.equal((await api.ask("PUT", one, { token, body: body("https://mine.example", "b") })).status, 200);
  assert.equal((await api.ask("PUT", one, { token, body: body("https://other.example") })).status, 403);
});

const role = "arn:aws:iam::123456789012:role/mail";

Deno.test("the operator's credentials are for operators to give, and are taken by any other change", async () => {
  await using api = await testApi({ allowedRoles: [role] });
  const { group, token } = await ownerOf(api, "alpha");
  const root = await operatorOf(api);
  const headers = { "x-group-id": group };
  const body = (config: object, name = "ses") => ({
    name,
    "provider_type": "ses",
    "smtp_config": { region: "eu-west-1", credentials: "instance", ...config },
  });
  const refused = await api.ask("POST", providers, { token, body: body({}) });
  assert.deepEqual([refused.status, refused.body.field], [403, "smtp_config.credentials"]);
  assert.equal((await api.ask("POST", providers, { token, body: body({ "role_arn": role }) })).status, 201);
  const given = await api.ask("POST", providers, { token: root, headers, body: body({}) });
  assert.deepEqual([given.status, given.body.operator_credentials], [201, true]);
  const one = `${providers}/${given.body.id}`;
  const renamed = await api.ask("PUT", one, { token, body: body({}, "renamed") });
  assert.deepEqual([renamed.status, renamed.body.operator_credentials], [200, true]);
  assert.equal((await api.ask("PUT", one, { token, body: body({ region: "us-east-1" }) })).status, 403);
  const own = { "access_key_id": "AKIA", "secret_access_key": "x", credentials: "static" };
  const withKeys = await api.ask("PUT", one, { token, body: body(own) });
  assert.deepEqual([withKeys.status, withKeys.body.operator_credentials], [200, false]);
  const none = { "secret_access_key": null };
  assert.equal((await api.ask("PUT", one, { token, body: body(none) })).status, 403, "it was taken away");
});

Deno.test("members see providers without secrets and change none; another group's are unknown", async () => {
  await using api = await testApi();
  const alpha = await ownerOf(api, "alpha");
  await addPerson(api, "member@alpha.example", [[alpha.group, "member"]]);
  const member = await api.login("member@alpha.example");
  const beta = await ownerOf(api, "beta");
  const body = { name: "a", "provider_type": "sendgrid", "api_key": "SG.x" };
  const { id } = (await api.ask("POST", providers, { token: alpha.token, body })).body;
  assert.equal((await api.ask("GET", `${providers}/${id}`, { token: member })).status, 200);
  assert.equal((await api.ask("POST", providers, { token: member, body })).status, 403);
  for (
    const [method, path, given] of [["GET", "", undefined], ["PUT", "", body], ["POST", "/test", {}]] as const
  ) {
    const answer = await api.ask(method, `${providers}/${id}${path}`, { token: beta.token, body: given });
    assert.equal(answer.status, 404);
  }
  assert.deepEqual((await api.ask("GET", providers, { token: beta.token })).body, []);
});
