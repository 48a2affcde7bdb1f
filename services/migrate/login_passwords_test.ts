import assert from "node:assert/strict";
import { passwordsOf } from "./login_passwords.ts";

const variables: Readonly<Record<string, string>> = {
  SMTP_PROXY_LOGIN_SMTP_SERVER_PASSWORD: "one",
  SMTP_PROXY_LOGIN_QUEUE_WORKER_PASSWORD_FILE: "/run/secrets/two",
  SMTP_PROXY_LOGIN_API_SERVER_PASSWORD: "three",
};

Deno.test("passwordsOf() promises every login's password, from its variable or the file named", () => {
  const read = (path: string) => `text of ${path}\n`;
  assert.deepEqual(passwordsOf((name) => variables[name], read), {
    smtp_server: "one",
    queue_worker: "text of /run/secrets/two",
    api_server: "three",
  });
});

Deno.test("passwordsOf() promises a sentence that names what is missing", () => {
  assert.throws(
    () => passwordsOf((name) => name.includes("API") ? undefined : variables[name], () => "x"),
    /SMTP_PROXY_LOGIN_API_SERVER_PASSWORD \(or with _FILE\)/,
  );
});
