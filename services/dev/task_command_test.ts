import assert from "node:assert/strict";
import { withNamedPaths } from "./task_command.ts";

const words = ["run", "--allow-net", "--allow-read=/a/messages,/a/mail", "--allow-write=/b", "main.ts"];

Deno.test("withNamedPaths() lets a task read and write what settings name", () => {
  const named = withNamedPaths(words, {
    SMTP_PROXY_TLS_CERT_FILE: "/tls/cert.pem",
    SMTP_PROXY_AUTH_SIGNING_KEY_FILE: "/run/key",
    SMTP_PROXY_STORAGE_PATH: "/bodies",
    SMTP_PROXY_ESP_FILE_FOLDER: "/eml",
    SMTP_PROXY_LOGGING_FILE_PATH: "/logs/x.log",
    SMTP_PROXY_SMTP_PORT: "2587",
  });
  assert.deepEqual(named, [
    "run",
    "--allow-net",
    "--allow-read=/a/messages,/a/mail,/tls/cert.pem,/run/key,/logs,/bodies,/eml",
    "--allow-write=/b,/logs",
    "main.ts",
  ]);
});

Deno.test("withNamedPaths() changes nothing when nothing is named, and adds no permission a task lacks", () => {
  assert.deepEqual(withNamedPaths(words, {}), words);
  assert.deepEqual(withNamedPaths(["run", "main.ts"], { SMTP_PROXY_STORAGE_PATH: "/mail" }), [
    "run",
    "main.ts",
  ]);
});
