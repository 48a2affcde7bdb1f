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
