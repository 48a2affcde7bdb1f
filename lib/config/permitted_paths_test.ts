import assert from "node:assert/strict";
import { loadConfig } from "./load.ts";
import { pathMistakes } from "./permitted_paths.ts";

function configWith(variables: Readonly<Record<string, string>>) {
  return loadConfig({
    service: "smtp-server",
    args: [],
    env: (name) => ({ SMTP_PROXY_ENVIRONMENT: "development", ...variables })[name],
    readFile: () => undefined,
    parseFile: () => ({ content: {}, problems: [] }),
  }).config;
}

/** Reads below /etc, and reads and writes below /var/lib. */
function may(access: "read" | "write", path: string): boolean {
  return path.startsWith("/var/lib/") || (access === "read" && path.startsWith("/etc/"));
}

Deno.test("pathMistakes() promises nothing of paths that may be read and written", () => {
  const config = configWith({
    SMTP_PROXY_STORAGE_PATH: "/var/lib/messages",
    SMTP_PROXY_TLS_CERT_FILE: "/etc/tls/cert.pem",
    SMTP_PROXY_TLS_KEY_FILE: "/etc/tls/key.pem",
  });
  assert.deepEqual(pathMistakes("smtp-server", config, { may, built: undefined }), []);
});

Deno.test("pathMistakes() promises the setting, the list and the way to build with others", () => {
  const config = configWith({ SMTP_PROXY_STORAGE_PATH: "/etc/messages" });
  assert.deepEqual(pathMistakes("queue-worker", config, { may, built: "/etc,/var/lib" }), [
    'storage.path: This program may not write "/etc/messages"; it was built for /etc, /var/lib: ' +
    "build it with `deno task compile --write /etc/messages`",
  ]);
});

Deno.test("pathMistakes() promises to look at a log's folder only when a file is written", () => {
  const storage = { SMTP_PROXY_STORAGE_PATH: "/etc/messages" };
  const file = { SMTP_PROXY_LOGGING_OUTPUT: "file", SMTP_PROXY_LOGGING_FILE_PATH: "/srv/a.log" };
  const config = configWith({ ...storage, ...file });
  assert.match(pathMistakes("api-server", config, { may, built: undefined })[0] ?? "", /"\/srv".*deno\.json/);
  assert.deepEqual(pathMistakes("api-server", configWith(storage), { may, built: undefined }), []);
});

Deno.test("pathMistakes() promises nothing of programs without paths", () => {
  assert.deepEqual(pathMistakes("migrate", configWith({}), { may: () => false, built: undefined }), []);
});
