import assert from "node:assert/strict";
import type { DataFolder } from "./data_folder.ts";
import { databaseUrl, postgresPort, serviceVariables, withLogin } from "./environment.ts";

const data: DataFolder = {
  path: "/d",
  cluster: "/d/postgres",
  messages: "/d/messages",
  secrets: {
    superuser: "s",
    logins: { smtp_server: "p/1", queue_worker: "p2", api_server: "p3" },
    signingKey: "k",
    sealingKeys: "dev:x",
  },
  wasKilled: false,
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

Deno.test("serviceVariables() lets the person's settings win, but for the database and for stopping with dev", () => {
  const variables = serviceVariables({
    SMTP_PROXY_SMTP_PORT: "3587",
    SMTP_PROXY_SMTP_HOST: "",
    SMTP_PROXY_STOP_WITH_PARENT: "false",
    SMTP_PROXY_DATABASE_URL: "postgres://production",
    SMTP_PROXY_SECRETS_KEYS_FILE: "/keys",
  }, data);
  assert.equal(variables["SMTP_PROXY_SMTP_PORT"], "3587");
  assert.equal(variables["SMTP_PROXY_SMTP_HOST"], "127.0.0.1");
  assert.equal(variables["SMTP_PROXY_STOP_WITH_PARENT"], "true");
  assert.equal(variables["SMTP_PROXY_STORAGE_PATH"], "/d/messages");
  assert.equal(variables["SMTP_PROXY_DATABASE_URL"], undefined);
  assert.equal(variables["SMTP_PROXY_SECRETS_KEYS"], undefined);
  assert.equal(variables["SMTP_PROXY_ENVIRONMENT"], "development");
});

Deno.test("withLogin() gives each service its own login", () => {
  assert.deepEqual(withLogin({}, data, 1234, "smtp_server"), {
    SMTP_PROXY_DATABASE_URL: databaseUrl("smtp_server", "p/1", 1234, "smtp_proxy"),
  });
  assert.equal(databaseUrl("u", "p/1", 1, "d"), "postgres://u:p%2F1@127.0.0.1:1/d");
});

Deno.test("postgresPort() refuses what is not a port", () => {
  assert.equal(postgresPort({}), 25432);
  assert.equal(postgresPort({ SMTP_PROXY_DEV_POSTGRES_PORT: "7000" }), 7000);
  for (const text of ["0", "65536", "x", "-1"]) {
    assert.throws(() => postgresPort({ SMTP_PROXY_DEV_POSTGRES_PORT: text }), /is not a port/);
  }
});
