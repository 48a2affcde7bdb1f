import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { newKeyText } from "../../lib/secrets/seal.ts";
import { sendOnce } from "../../lib/smtp/client.ts";
import { until } from "../../services/dev/processes.ts";
import { httpServices } from "../support/http_services.ts";
import { rowsOf, type TestSystem, withServices } from "../support/spawn_services.ts";

/** A secret that stands nowhere else, told apart by what it is. */
function made(what: string): string {
  return `${what}-${crypto.randomUUID()}`;
}

async function ask(
  { apiPort }: TestSystem,
  method: string,
  path: string,
  { token, body }: { readonly token?: string; readonly body?: unknown } = {},
) {
  const response = await fetch(`http://127.0.0.1:${apiPort}${path}`, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      "content-type": "application/json",
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const found = text === "" ? {} : JSON.parse(text) as Record<string, unknown>;
  return { status: response.status, told: (name: string) => String(found[name] ?? "") };
}

/** Answers the reply. */
async function submit({ smtpPort }: TestSystem, password: string, text: string): Promise<string> {
  const result = await sendOnce(
    {
      address: "127.0.0.1",
      port: smtpPort,
      tls: "starttls",
      verify: false,
      servername: "localhost",
      credentials: { username: "dev", password },
    },
    {
      mailFrom: "me@example.com",
      recipients: [{ address: "you@example.net" }],
      eightBit: false,
      smtpUtf8: false,
    },
    new TextEncoder().encode(`From: me@example.com\r\nSubject: ${crypto.randomUUID()}\r\n\r\n${text}\r\n`),
  );
  return `${result.answer?.code} ${result.answer?.lines.join(" ")}`;
}

/** Whether a call was made for a message; providers that need attention are in order again for the next one. */
async function wasTried(system: TestSystem, id: string): Promise<boolean> {
  const calls = await rowsOf(
    system,
    `select from delivery_logs where message_id = '${id}' and status <> 'started'`,
  );
  if (calls.length > 0) return true;
  await rowsOf(system, "update provider_state set needs_attention_since = null, next_probe_at = null");
  return false;
}

/** How a secret may look in a line. */
function guises(secret: string): readonly string[] {
  const json = JSON.stringify(secret).slice(1, -1);
  const bytes = Buffer.from(secret);
  return [
    secret,
    json,
    encodeURIComponent(secret),
    bytes.toString("base64").replace(/=+$/, ""),
    bytes.toString("hex"),
  ];
}

/** Looks at all that the services show and have said to their end. */
async function assertSilent(system: TestSystem, secrets: ReadonlyMap<string, string>): Promise<void> {
  const output = [];
  for (const service of [system.smtpServer, system.queueWorker, system.apiServer]) {
    output.push((await service.ask("/metrics"))?.text ?? "");
    assert.equal(await service.stop(), 0, service.name);
    output.push(await service.log());
  }
  const text = output.join("\n");
  for (
    const known of ["message accepted", "provider needs attention", "request answered", "db_errors_total"]
  ) {
    assert.ok(text.includes(known), known);
  }
  const told = [...secrets].filter(([, secret]) => guises(secret).some((guise) => text.includes(guise)));
  assert.deepEqual(told.map(([name]) => name), []);
}

Deno.test("no secret that anybody gives, right or wrong, stands in what the services write", async () => {
  const keys = newKeyText("known");
  const settings = {
    SMTP_PROXY_LOGGING_LEVEL: "debug",
    SMTP_PROXY_SECRETS_KEYS: keys,
    SMTP_PROXY_AUTH_SIGNING_KEY: made("signing-key"),
    SMTP_PROXY_ADMIN_PASSWORD: made("administrator"),
    SMTP_PROXY_QUEUE_REDIS_PASSWORD: made("redis"),
    SMTP_PROXY_DELIVERY_RETRY_DELAYS: "1s",
  };
  const secrets = new Map<string, string>(
    Object.entries(settings).filter(([name]) => /KEY$|PASSWORD$/.test(name)),
  );
  secrets.set("sealing key", keys.split(":")[1] ?? "");
  function know(name: string, secret: string): string {
    assert.ok(secret.length >= 8, name);
    secrets.set(name, secret);
    return secret;
  }
  await withServices({ env: settings }, async (system) => {
    know("database", new URL(system.ownerUrl).password);
    const email = "admin@localhost";
    const password = settings.SMTP_PROXY_ADMIN_PASSWORD;
    const login = await ask(system, "POST", "/api/v1/auth/login", { body: { email, password } });
    assert.equal(login.status, 200);
    const token = know("access token", login.told("access_token"));
    know("refresh token", login.told("refresh_token"));
    const wrong = { email, password: know("wrong password", made("wrong")) };
    assert.equal((await ask(system, "POST", "/api/v1/auth/login", { body: wrong })).status, 401);
    const strange = { token: know("strange token", made("strange")) };
    assert.equal((await ask(system, "GET", "/api/v1/auth/me", strange)).status, 401);
    const odd = { email: 5, password: know("password in a wrong request", made("odd")) };
    assert.equal((await ask(system, "POST", "/api/v1/auth/login", { body: odd })).status, 400);

    const [dev] = await rowsOf(system, "select id from users where account_type = 'smtp'");
    const key = await ask(system, "POST", `/api/v1/users/${dev?.["id"]}/api-keys`, {
      token,
      body: { name: "k" },
    });
    assert.equal(key.status, 201);
    const apiKey = know("API key", key.told("api_key"));

    const body = know("text of a mail", made("body"));
    await assert.rejects(submit(system, know("wrong SMTP password", made("smtp")), body), /535/);
    for (const [kind, open] of Object.entries(httpServices)) {
      await using service = await open();
      const cases = [["right", service.secrets], ["wrong", service.wrongSecrets]] as const;
      for (const [which, given] of cases) {
        for (const [name, secret] of Object.entries(given)) {
          if (secret.length >= 8) know(`${which} ${name} of ${kind}`, secret);
        }
        const config = { ...service.settings, ...given };
        await system.seed({ name: kind, "provider_type": kind, "smtp_config": config });
        const [, id] = /^250 .*queued as ([\da-f-]{36})/.exec(await submit(system, apiKey, body)) ?? [];
        assert.ok(id, `${which} ${kind}`);
        // Mail of before that comes again may have it wait for a minute.
        assert.ok(await until(() => wasTried(system, id), 180_000), `${which} ${kind}`);
      }
    }
    await system.postgres.kill();
    assert.equal((await ask(system, "GET", "/api/v1/auth/me", { token })).status, 503);
    await submit(system, apiKey, body).catch((error: Error) => assert.match(error.message, /4\d\d/));
    await system.postgres.restart();
    assert.ok(await until(() => system.queueWorker.isReady(), 60_000));
    await assertSilent(system, secrets);
  });
});
