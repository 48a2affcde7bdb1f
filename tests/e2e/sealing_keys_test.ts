import assert from "node:assert/strict";
import { withServices } from "../support/spawn_services.ts";

const relay = {
  name: "relay",
  "provider_type": "smtp",
  "smtp_config": { host: "127.0.0.1", port: 2525, tls: "none", username: "u", password: "p" },
};

Deno.test("a service without keys does not start where secrets are sealed, and says why", async () => {
  await withServices({ provider: relay, start: [] }, async (system) => {
    const settings = {
      SMTP_PROXY_ENVIRONMENT: "production",
      SMTP_PROXY_SECRETS_KEYS: "",
      SMTP_PROXY_ADMIN_PASSWORD: "not the published one",
      SMTP_PROXY_AUTH_SIGNING_KEY: crypto.randomUUID(),
    };
    for (const service of [system.queueWorker, system.apiServer]) {
      await assert.rejects(
        service.start(settings),
        /secrets of providers are sealed .* secrets\.keys names no key/,
      );
      assert.equal(await service.stop(), 1, service.name);
    }
  });
});
