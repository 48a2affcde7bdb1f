import assert from "node:assert/strict";
import { parseProvider } from "./provider_request.ts";

Deno.test("parseProvider() keeps secrets apart from what may be shown", () => {
  const config = { host: "relay.example.com", port: 2525, username: "u", password: "p" };
  const json = JSON.stringify({ name: "relay", provider_type: "smtp", smtp_config: config });
  assert.deepEqual(parseProvider(json), {
    name: "relay",
    providerType: "smtp",
    enabled: true,
    settings: { host: "relay.example.com", port: 2525, username: "u" },
    secrets: { password: "p" },
  });
});

Deno.test("parseProvider() takes `enabled` as it is given", () => {
  assert.equal(parseProvider('{"name":"n","provider_type":"stdout","enabled":false}').enabled, false);
});

Deno.test("parseProvider() refuses with a sentence that names the field and shows no secret", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["{", /not JSON$/],
    ["[]", /not a JSON object$/],
    ['{"provider_type":"stdout"}', /name is not a text/],
    ['{"name":"n","provider_type":"pigeon"}', /no provider_type "pigeon"$/],
    ['{"name":"n","provider_type":"stdout","colour":1}', /no field "colour"$/],
    ['{"name":"n","provider_type":"stdout","enabled":"yes"}', /enabled is neither/],
    ['{"name":"n","provider_type":"smtp","smtp_config":[]}', /smtp_config is not an object$/],
    ['{"name":"n","provider_type":"smtp","smtp_config":{"password":"hidden","host":7}}', /: host: /],
  ];
  for (const [json, expected] of cases) {
    assert.throws(() => parseProvider(json), (error: Error) => {
      assert.match(error.message, expected);
      assert.doesNotMatch(error.message, /hidden/);
      return true;
    });
  }
});

Deno.test("parseProvider() knows the settings of every kind and keeps each one's secrets apart", () => {
  const cases = [
    ["sendgrid", { region: "eu" }, { "api_key": "SG.x" }],
    ["mailgun", { domain: "mg.example.com", region: "eu" }, { "api_key": "key" }],
    [
      "ses",
      { region: "eu-west-1", credentials: "static", "access_key_id": "AKID" },
      { "secret_access_key": "x" },
    ],
    ["ses", { region: "eu-west-1", credentials: "instance" }, {}],
    ["msgraph", { "tenant_id": "t.example", "client_id": "c", "user_id": "u@t.example" }, {
      "client_secret": "x",
    }],
    ["smtp", { host: "relay.example.com", username: "u", endpoint: "127.0.0.1:2525" }, { password: "x" }],
    ["file", { folder: "out" }, {}],
    ["simulator", { recipients: 10, unknown: "hold", "strip_dkim": true, "pass_control_headers": true }, {}],
    ["stdout", {}, { webhook: { key: "x" } }],
  ] as const;
  for (const [type, settings, secrets] of cases) {
    const given = { ...settings, ...secrets };
    const { api_key: apiKey, ...config } = given as Record<string, unknown>;
    for (const body of [{ smtp_config: given }, { smtp_config: config, api_key: apiKey }]) {
      const request = parseProvider(JSON.stringify({ name: "n", provider_type: type, ...body }));
      assert.deepEqual([request.providerType, request.settings, request.secrets], [type, settings, secrets]);
    }
  }
});

Deno.test("parseProvider() refuses settings that a kind does not have, or that do not go together", () => {
  const cases = [
    ["sendgrid", {}],
    ["sendgrid", { "api_key": "x", region: "us" }],
    ["mailgun", { "api_key": "x" }],
    ["mailgun", { "api_key": "x", domain: "a/b" }],
    ["ses", { region: "eu-west-1" }],
    ["ses", {
      region: "eu-west-1",
      credentials: "instance",
      "access_key_id": "a",
      "secret_access_key": "hidden",
    }],
    ["ses", { region: "../x", "access_key_id": "a", "secret_access_key": "hidden" }],
    ["msgraph", { "tenant_id": "t", "client_id": "c", "user_id": "u" }],
    ["msgraph", {
      "tenant_id": "t",
      "client_id": "c",
      "user_id": "u",
      certificate: "hidden",
      "private_key": "hidden",
    }],
    ["smtp", { host: "h", username: "u" }],
    ["simulator", { unknown: "maybe" }],
    ["file", { folder: "../x" }],
    ["stdout", { endpoint: "ftp://x" }],
    ["stdout", { endpoint: "https://hidden:pw@x.example/" }],
  ] as const;
  for (const [type, config] of cases) {
    const json = JSON.stringify({ name: "n", provider_type: type, smtp_config: config });
    assert.throws(() => parseProvider(json), (error: Error) => {
      assert.match(error.message, /^Cannot read the provider: /);
      assert.doesNotMatch(error.message, /hidden/);
      return true;
    }, json);
  }
});
