import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { openSession } from "../../lib/postgres/database.ts";
import { newKeyText } from "../../lib/secrets/seal.ts";
import { addGroup, addPerson, type TestApi, testApi } from "../support/api.ts";

/** Every row of every table, as a dump has it. */
async function dumpOf(api: TestApi): Promise<string> {
  await using session = await openSession({ url: api.database.ownerUrl });
  const tables = await session.run(`select oid::regclass::text as name from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') order by 1`);
  const rows = [];
  for (const { name } of tables) rows.push(...await session.run(`select t::text as row from ${name} t`));
  return rows.map(({ row }) => String(row)).join("\n");
}

/** How a dump may show a text. */
function guises(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  return [
    secret,
    JSON.stringify(secret).slice(1, -1),
    bytes.toString("hex"),
    bytes.toString("base64").replace(/=+$/, ""),
    bytes.toString("base64url"),
  ];
}

Deno.test("no secret that is given to the API or handed out by it stands in the database", async () => {
  const keys = newKeyText("known");
  await using api = await testApi({ sealingKeys: keys });
  const group = await addGroup(api, "acme");
  await addPerson(api, "owner@acme.example", [[group, "owner"]]);
  const token = await api.login("owner@acme.example");
  const secrets = new Map<string, string>([["sealing key", keys.split(":")[1] ?? ""], [
    "access token",
    token,
  ]]);
  const made = (name: string): string => {
    const secret = `${name}-${crypto.randomUUID()}`;
    secrets.set(name, secret);
    return secret;
  };
  const ask = async (status: number, method: string, path: string, body?: unknown) => {
    const answer = await api.ask(method, `/api/v1${path}`, { token, body });
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const person = { email: "ann@acme.example", password: made("person") };
  const { id: ann } = await ask(201, "POST", "/users", person);
  const pair = (await api.ask("POST", "/api/v1/auth/login", { body: person })).body;
  secrets.set("refresh token", pair.refresh_token);
  const next = await ask(200, "POST", "/auth/refresh", { "refresh_token": pair.refresh_token });
  secrets.set("next refresh token", next.refresh_token);
  await ask(401, "POST", "/auth/login", { email: person.email, password: made("wrong password") });
  await ask(200, "PATCH", `/users/${ann}`, { password: made("changed password") });
  const reset = await ask(201, "POST", `/users/${ann}/password-reset`);
  secrets.set("reset", reset.token);
  const given = { token: reset.token, "new_password": made("reset password") };
  await ask(204, "POST", "/auth/reset-password", given);
  secrets.set(
    "invitation",
    (await ask(201, "POST", `/groups/${group}/invitations`, { email: "bob@other.example" })).token,
  );
  const account = await ask(201, "POST", "/users", {
    email: "app@acme.example",
    "account_type": "smtp",
    password: made("account"),
  });
  secrets.set("first key", account.api_key);
  secrets.set("key", (await ask(201, "POST", `/users/${account.id}/api-keys`, { name: "k" })).api_key);
  const relay = {
    name: "relay",
    "provider_type": "smtp",
    "smtp_config": { host: "relay.example", username: "u", password: made("relay") },
  };
  const { id: provider } = await ask(201, "POST", "/providers", relay);
  const mailgun = {
    name: "mg",
    "provider_type": "mailgun",
    "api_key": made("mailgun"),
    "smtp_config": { domain: "mg.example", webhook: { "signing_key": made("webhook") } },
  };
  await ask(201, "POST", "/providers", mailgun);
  const replaced = { ...relay.smtp_config, host: "other.example", password: made("next relay") };
  await ask(200, "PUT", `/providers/${provider}`, { ...relay, "smtp_config": replaced });
  await ask(200, "POST", `/providers/${provider}/test`, {});
  const dump = await dumpOf(api);
  for (const known of ["owner@acme.example", "relay.example", "provider.update", "auth.login_failed"]) {
    assert.ok(dump.includes(known), known);
  }
  const told = [...secrets].filter(([, secret]) => guises(secret).some((guise) => dump.includes(guise)));
  assert.deepEqual(told.map(([name]) => name), []);
  assert.deepEqual(api.faults, []);
});
